"""The Linux system calls that Python's `os` does not offer, and what stands in where a file system refuses them."""

import ctypes
import errno
import os
import stat

_LIBC = ctypes.CDLL(None, use_errno=True)
_AT_FDCWD = -100
_RENAME_NOREPLACE = 1
_AT_SYMLINK_NOFOLLOW = 0x100
_STATX_ATTR_MOUNT_ROOT = 0x2000
# What a kernel, a C library or a file system answers to a call or flag that it does not know.
_NOT_KNOWN = frozenset({errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP})

# From linux/magic.h, statfs(2) and the sources of the file systems that live outside the kernel.
_MAGIC = {
    0xEF53: "ext4",  # ext2 and ext3 too
    0x58465342: "xfs",
    0x9123683E: "btrfs",
    0x2FC12FC1: "zfs",
    0xF2F52010: "f2fs",
    0xCA451A4E: "bcachefs",
    0x01021994: "tmpfs",
    0x858458F6: "ramfs",
    0x794C7630: "overlay",
    0x4D44: "vfat",
    0x2011BAB0: "exfat",
    0x6969: "nfs",
    0x0BD00BD0: "lustre",
    0x65735546: "fuse",
    0x517B: "cifs",
    0xFF534D42: "cifs",
    0xFE534D42: "cifs",
    0x00C36400: "ceph",
    0x47504653: "gpfs",
    0x19830326: "beegfs",
    0x20030528: "orangefs",
    0xAAD7AAEA: "panfs",
    0x01021997: "9p",
    0x01161970: "gfs2",
    0x7461636F: "ocfs2",
    0x5346414F: "afs",
    0x6B414653: "afs",
}


def rename_without_replacing(old: str, new: str) -> None:
    """Rename a file or directory; what stands at `new` stays.

    Raises:
        FileExistsError: If something stands at `new`.
    """
    call = getattr(_LIBC, "renameat2", None)
    if call is not None:
        flags = ctypes.c_uint(_RENAME_NOREPLACE)
        if call(_AT_FDCWD, os.fsencode(old), _AT_FDCWD, os.fsencode(new), flags) == 0:
            return
        number = ctypes.get_errno()
        if number not in _NOT_KNOWN:
            raise OSError(number, os.strerror(number), old, None, new)
    rename_by_claim(old, new)


def rename_by_claim(old: str, new: str) -> None:
    """As `rename_without_replacing`, by calls that every file system has: the new name is claimed first, atomically.

    A crash in between leaves a file under both names, or an empty directory under the new one.
    """
    if not stat.S_ISDIR(os.lstat(old).st_mode):
        os.link(old, new, follow_symlinks=False)
        os.unlink(old)
        return
    os.mkdir(new)
    try:
        # Replaces an empty directory and nothing else: ours, as long as nobody has put something into it.
        os.rename(old, new)
    except OSError:
        os.rmdir(new)
        raise


def allocate(descriptor: int, size_bytes: int) -> None:
    """Make an open file at least `size_bytes` long, its blocks allocated.

    Not `posix_fallocate`: where the file system can not, the C library would write a byte into every block.

    Raises:
        OSError: ENOSPC, EDQUOT or EFBIG if there is no room.
    """
    number = errno.EINTR
    while number == errno.EINTR:
        if _LIBC.fallocate(descriptor, 0, ctypes.c_int64(0), ctypes.c_int64(size_bytes)) == 0:
            return
        number = ctypes.get_errno()
    if number not in _NOT_KNOWN:
        raise OSError(number, os.strerror(number))
    extend(descriptor, size_bytes)


def extend(descriptor: int, size_bytes: int) -> None:
    """As `allocate`, where blocks can not be allocated: the room is looked up, and may be gone when the bytes come."""
    known = os.fstat(descriptor)
    space = os.fstatvfs(descriptor)
    # st_blocks counts 512 bytes each, whatever the file system's own blocks are.
    if size_bytes - known.st_blocks * 512 > space.f_bavail * space.f_frsize:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    if size_bytes > known.st_size:
        os.ftruncate(descriptor, size_bytes)


def file_system_kind(path: str) -> str:
    """The type of the file system that holds `path`, or "unknown"."""
    # `struct statfs` has at most 120 bytes on 64-bit Linux and begins with the type, a long.
    buffer = (ctypes.c_long * 64)()
    if _LIBC.statfs(os.fsencode(path), buffer) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), path)
    return _MAGIC.get(buffer[0] & 0xFFFFFFFF, "unknown")


def is_mount_root(path: str) -> bool:
    """Whether something is mounted at `path`: by the kernel's own word, which knows of bind mounts too."""
    # `struct statx` has 256 bytes; the attributes are at 8, the mask of those that the kernel knows (since 5.8) at 56.
    buffer = (ctypes.c_uint64 * 32)()
    call = getattr(_LIBC, "statx", None)
    if call is not None:
        call(_AT_FDCWD, os.fsencode(path), _AT_SYMLINK_NOFOLLOW, ctypes.c_uint(0), buffer)
    if buffer[7] & _STATX_ATTR_MOUNT_ROOT:
        return bool(buffer[1] & _STATX_ATTR_MOUNT_ROOT)
    # Raises what `ismount` would keep to itself.
    os.lstat(path)
    return os.path.ismount(path)
