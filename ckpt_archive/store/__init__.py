"""Object stores behind one small protocol of verbs: any S3 API, a mounted file system, memory."""
