"""What people say about checkpoints: classes, drops, holds."""
