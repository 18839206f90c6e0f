"""Real processes against a real SeaweedFS, killed from outside: ``python -m ckpt_archive.testing.siege``.

A *site* is one archive prefix, one staging folder and the processes that work there: a trainer that saves and resumes, the
agent, pushes and restores. The besieger, which is the process that started them all, ends them and the servers with SIGKILL,
or stops them for a while, and starts again what died. Then comes the calm: whatever was acknowledged must be there, byte for
byte.

The seed decides who is struck and after how many milliseconds, lines or bytes; how the processes then stand to each other is
up to the machine. So a seed tells the same story again, not the same interleaving.
"""
