"""The rules of a bucket's lifecycle engine: ours, as values, as servers spell them, as Terraform has them."""
