"""What every `FileSystem` must do: one suite that the real one and the simulated one run.

Derive a test class and give it two fixtures: `fs`, the file system, and `root`, an empty directory in it that is the
test's own. Nothing here waits or needs a second thread: what only a real disk can show is tested beside its adapter.
"""

import errno
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from ckpt_archive.disk.durable import exists
from ckpt_archive.disk.protocol import Entry, FileSystem, Kind, LockMode, ReadableFile, walk

OUTWARD_PATHS = ["", ".", "..", "../out", "folder/../../out", "folder/..", "/out", "folder//out", "./out", "out/"]


def put(fs: FileSystem, path: str, data: bytes) -> None:
    """Make the file `path`."""
    with fs.create(path) as file:
        file.write_at(data, 0)


def content(file: ReadableFile) -> bytes:
    """All of an open file."""
    buffer = bytearray(file.stat().size_bytes + 1)
    read = file.read_into(memoryview(buffer), 0)
    return bytes(buffer[:read])


def get(fs: FileSystem, path: str) -> bytes:
    """All of the file `path`."""
    with fs.open(path) as file:
        return content(file)


@contextmanager
def refused(*numbers: int) -> Iterator[None]:
    """Expect an `OSError` with one of these errnos."""
    number = None
    try:
        yield
    except OSError as error:
        number = error.errno
    assert number in numbers


class FilesConformance:
    """Files: made once, read and written at any offset, alive as long as they are open."""

    def test_what_was_written_is_read(self, fs: FileSystem, root: str) -> None:
        """Both before and after it was made durable."""
        with fs.create(f"{root}/file") as file:
            file.write_at(b"data", 0)
            assert content(file) == b"data"
            file.sync()
        assert get(fs, f"{root}/file") == b"data"

    def test_a_new_file_is_empty_and_regular(self, fs: FileSystem, root: str) -> None:
        """With one name, and the same seen by name and by handle."""
        with fs.create(f"{root}/file") as file:
            found = file.stat()
            assert (found.kind, found.size_bytes, found.link_count) == (Kind.FILE, 0, 1)
            assert fs.stat(f"{root}/file") == found

    def test_create_never_opens_what_is_there(self, fs: FileSystem, root: str) -> None:
        """Neither a file nor a directory."""
        put(fs, f"{root}/file", b"first")
        fs.make_directory(f"{root}/folder")
        for name in ("file", "folder"):
            with pytest.raises(FileExistsError):
                fs.create(f"{root}/{name}")
        assert get(fs, f"{root}/file") == b"first"

    def test_create_needs_its_folder(self, fs: FileSystem, root: str) -> None:
        """A folder that is missing, or is a file."""
        put(fs, f"{root}/file", b"")
        with pytest.raises(FileNotFoundError):
            fs.create(f"{root}/missing/new")
        with pytest.raises(NotADirectoryError):
            fs.create(f"{root}/file/new")

    def test_open_needs_a_regular_file(self, fs: FileSystem, root: str) -> None:
        """Not a missing one and not a directory."""
        with pytest.raises(FileNotFoundError):
            fs.open(f"{root}/missing")
        with pytest.raises(IsADirectoryError):
            fs.open(root)

    def test_writes_go_to_their_offsets(self, fs: FileSystem, root: str) -> None:
        """In any order, over each other, from any kind of bytes; a gap reads as zeros."""
        with fs.create(f"{root}/file") as file:
            file.write_at(memoryview(b"-end-")[1:4], 8)
            file.write_at(b"begin", 0)
            file.write_at(b"G", 2)
            file.write_at(b"", 100)
            assert content(file) == b"beGin\0\0\0end"

    def test_reads_are_short_only_at_the_end(self, fs: FileSystem, root: str) -> None:
        """And leave the rest of the buffer as it was."""
        put(fs, f"{root}/file", b"0123456789")
        with fs.open(f"{root}/file") as file:
            for offset, length, expected in [
                (0, 4, b"0123"),
                (6, 4, b"6789"),
                (8, 4, b"89"),
                (10, 4, b""),
                (99, 4, b""),
            ]:
                buffer = bytearray(b"#" * length)
                assert file.read_into(memoryview(buffer), offset) == len(expected)
                assert bytes(buffer) == expected + b"#" * (length - len(expected))
            assert file.read_into(memoryview(bytearray()), 0) == 0

    def test_megabytes_are_written_and_read_whole(self, fs: FileSystem, root: str) -> None:
        """However the file system cuts them up."""
        data = bytes(range(256)) * (3 << 12) + b"odd"
        put(fs, f"{root}/file", data)
        assert get(fs, f"{root}/file") == data

    def test_a_reader_sees_later_writes(self, fs: FileSystem, root: str) -> None:
        """An open file is not a copy."""
        with fs.create(f"{root}/file") as writer, fs.open(f"{root}/file") as reader:
            writer.write_at(b"now", 0)
            assert content(reader) == b"now"
            assert reader.stat() == writer.stat()

    def test_a_write_moves_the_time_of_the_file_and_of_no_other(self, fs: FileSystem, root: str) -> None:
        """Never backwards while the clock does not; size and inode are as before."""
        put(fs, f"{root}/other", b"data")
        other = fs.stat(f"{root}/other")
        with fs.create(f"{root}/file") as file:
            before = file.stat()
            file.write_at(b"data", 0)
            after = file.stat()
        assert after.mtime_ns >= before.mtime_ns
        assert after.inode == before.inode
        assert fs.stat(f"{root}/other") == other

    def test_a_copy_may_have_the_time_of_what_it_was_copied_from(self, fs: FileSystem, root: str) -> None:
        """To the nanosecond; bytes and inode are as before, and a later write moves it on."""
        with fs.create(f"{root}/file") as file:
            file.write_at(b"data", 0)
            before = file.stat()
            file.set_modified(1_000_000_000_123_456_789)
            file.sync()
            after = file.stat()
        assert (after.mtime_ns, after.inode) == (1_000_000_000_123_456_789, before.inode)
        assert fs.stat(f"{root}/file") == after
        assert get(fs, f"{root}/file") == b"data"

    def test_an_open_file_outlives_its_name(self, fs: FileSystem, root: str) -> None:
        """It can be read and written after it was renamed and removed."""
        with fs.create(f"{root}/file") as file:
            fs.rename(f"{root}/file", f"{root}/moved")
            file.write_at(b"moved", 0)
            assert get(fs, f"{root}/moved") == b"moved"
            fs.remove(f"{root}/moved")
            file.write_at(b"still", 0)
            assert content(file) == b"still"
            assert file.stat().link_count == 0

    def test_a_file_under_an_old_name_is_another_file(self, fs: FileSystem, root: str) -> None:
        """Its inode says so while the first is open."""
        put(fs, f"{root}/file", b"first")
        with fs.open(f"{root}/file") as first:
            fs.remove(f"{root}/file")
            put(fs, f"{root}/file", b"other")
            assert fs.stat(f"{root}/file").inode != first.stat().inode
            assert content(first) == b"first"

    def test_close_may_be_repeated(self, fs: FileSystem, root: str) -> None:
        """And what is closed can't be read."""
        file = fs.create(f"{root}/file")
        file.close()
        file.close()
        with refused(errno.EBADF):
            file.stat()

    def test_reserve_makes_a_file_long_and_zero(self, fs: FileSystem, root: str) -> None:
        """Bytes that are there stay; none is taken away."""
        with fs.create(f"{root}/file") as file:
            file.write_at(b"head", 0)
            file.reserve(0)
            assert file.stat().size_bytes == 4
            file.reserve(10_000)
            assert content(file) == b"head".ljust(10_000, b"\0")
            file.reserve(5_000)
            assert file.stat().size_bytes == 10_000

    def test_sync_of_a_file_by_name(self, fs: FileSystem, root: str) -> None:
        """It must be there."""
        put(fs, f"{root}/file", b"data")
        fs.sync_file(f"{root}/file")
        assert get(fs, f"{root}/file") == b"data"
        with pytest.raises(FileNotFoundError):
            fs.sync_file(f"{root}/missing")

    def test_remove(self, fs: FileSystem, root: str) -> None:
        """A file goes; a directory does not; what is not there is an error."""
        put(fs, f"{root}/file", b"data")
        fs.remove(f"{root}/file")
        assert not exists(fs, f"{root}/file")
        with pytest.raises(FileNotFoundError):
            fs.remove(f"{root}/file")
        fs.make_directory(f"{root}/folder")
        with refused(errno.EISDIR, errno.EPERM):
            fs.remove(f"{root}/folder")
        assert exists(fs, f"{root}/folder")


class DirectoriesConformance:
    """Directories: made one at a time, listed in order, removed when empty."""

    def test_a_directory_is_made_once(self, fs: FileSystem, root: str) -> None:
        """And not where a file is, nor below a missing one."""
        fs.make_directory(f"{root}/folder")
        assert fs.stat(f"{root}/folder").kind is Kind.DIRECTORY
        put(fs, f"{root}/file", b"")
        for name in ("folder", "file"):
            with pytest.raises(FileExistsError):
                fs.make_directory(f"{root}/{name}")
        with pytest.raises(FileNotFoundError):
            fs.make_directory(f"{root}/missing/folder")

    def test_a_list_is_sorted_and_tells_kinds(self, fs: FileSystem, root: str) -> None:
        """Names only, whatever was made first."""
        for name in ("b", "a10", "ä", "Z", ".hidden"):
            put(fs, f"{root}/{name}", b"")
        fs.make_directory(f"{root}/a2")
        assert fs.list(root) == [
            Entry(".hidden", Kind.FILE),
            Entry("Z", Kind.FILE),
            Entry("a10", Kind.FILE),
            Entry("a2", Kind.DIRECTORY),
            Entry("b", Kind.FILE),
            Entry("ä", Kind.FILE),
        ]
        assert fs.list(f"{root}/a2") == []

    def test_a_list_needs_a_directory(self, fs: FileSystem, root: str) -> None:
        """Neither nothing nor a file has entries."""
        put(fs, f"{root}/file", b"")
        with pytest.raises(FileNotFoundError):
            fs.list(f"{root}/missing")
        with pytest.raises(NotADirectoryError):
            fs.list(f"{root}/file")

    def test_stat_needs_a_name(self, fs: FileSystem, root: str) -> None:
        """There, and below a directory."""
        put(fs, f"{root}/file", b"")
        with pytest.raises(FileNotFoundError):
            fs.stat(f"{root}/missing")
        with pytest.raises(FileNotFoundError):
            fs.stat(f"{root}/missing/below")
        with pytest.raises(NotADirectoryError):
            fs.stat(f"{root}/file/below")

    def test_only_an_empty_directory_is_removed(self, fs: FileSystem, root: str) -> None:
        """And nothing that is not a directory."""
        fs.make_directory(f"{root}/folder")
        put(fs, f"{root}/folder/file", b"data")
        with refused(errno.ENOTEMPTY, errno.EEXIST):
            fs.remove_directory(f"{root}/folder")
        with pytest.raises(NotADirectoryError):
            fs.remove_directory(f"{root}/folder/file")
        fs.remove(f"{root}/folder/file")
        fs.remove_directory(f"{root}/folder")
        assert fs.list(root) == []
        with pytest.raises(FileNotFoundError):
            fs.remove_directory(f"{root}/folder")

    def test_sync_of_a_directory(self, fs: FileSystem, root: str) -> None:
        """It must be there, and a directory."""
        put(fs, f"{root}/file", b"")
        fs.sync_directory(root)
        with pytest.raises(FileNotFoundError):
            fs.sync_directory(f"{root}/missing")
        with pytest.raises(NotADirectoryError):
            fs.sync_directory(f"{root}/file")

    def test_room_and_type_are_known(self, fs: FileSystem, root: str) -> None:
        """At least as numbers that can be, and a word."""
        space = fs.space(root)
        assert 0 <= space.free_bytes <= space.total_bytes
        assert fs.mount_kind(root)

    def test_what_was_made_here_is_no_mount_point(self, fs: FileSystem, root: str) -> None:
        """Neither a directory nor a file; what is missing is an error."""
        fs.make_directory(f"{root}/folder")
        put(fs, f"{root}/file", b"")
        assert not fs.is_mount_point(f"{root}/folder")
        assert not fs.is_mount_point(f"{root}/file")
        with pytest.raises(FileNotFoundError):
            fs.is_mount_point(f"{root}/missing")


class NamesConformance:
    """Names: given and moved in one step, and never taken away from what has them."""

    def test_a_file_is_renamed(self, fs: FileSystem, root: str) -> None:
        """Into another directory too; it is the same file."""
        put(fs, f"{root}/old", b"data")
        fs.make_directory(f"{root}/folder")
        before = fs.stat(f"{root}/old")
        fs.rename(f"{root}/old", f"{root}/folder/new")
        assert fs.stat(f"{root}/folder/new") == before
        assert not exists(fs, f"{root}/old")

    def test_a_directory_is_renamed_with_all_it_holds(self, fs: FileSystem, root: str) -> None:
        """Nothing is left behind."""
        fs.create_beneath(root, "old/inner/file").close()
        fs.rename(f"{root}/old", f"{root}/new")
        assert [name for name, _ in walk(fs, root)] == ["new", "new/inner", "new/inner/file"]

    @pytest.mark.parametrize("old", ["file", "folder"])
    @pytest.mark.parametrize("new", ["other-file", "empty-folder", "full-folder", "same"])
    def test_rename_never_replaces(self, fs: FileSystem, root: str, old: str, new: str) -> None:
        """Neither a file nor a directory, empty or not, nor itself: everything stays as it was."""
        for name in ("file", "other-file", "folder/file", "full-folder/file"):
            with fs.create_beneath(root, name) as file:
                file.write_at(name.encode(), 0)
        fs.make_directory(f"{root}/empty-folder")
        before = [(name, fs.stat(f"{root}/{name}")) for name, _ in walk(fs, root)]
        with pytest.raises(FileExistsError):
            fs.rename(f"{root}/{old}", f"{root}/{old if new == 'same' else new}")
        assert [(name, fs.stat(f"{root}/{name}")) for name, _ in walk(fs, root)] == before

    def test_rename_needs_both_ends(self, fs: FileSystem, root: str) -> None:
        """What is renamed, and the directory it goes to."""
        put(fs, f"{root}/file", b"")
        with pytest.raises(FileNotFoundError):
            fs.rename(f"{root}/missing", f"{root}/new")
        with pytest.raises(FileNotFoundError):
            fs.rename(f"{root}/file", f"{root}/missing/new")
        assert fs.list(root) == [Entry("file", Kind.FILE)]

    def test_a_directory_can_not_move_into_itself(self, fs: FileSystem, root: str) -> None:
        """It would be lost."""
        fs.make_directory(f"{root}/folder")
        with refused(errno.EINVAL):
            fs.rename(f"{root}/folder", f"{root}/folder/inner")
        assert [name for name, _ in walk(fs, root)] == ["folder"]

    def test_replace_puts_a_file_over_another(self, fs: FileSystem, root: str) -> None:
        """Who has the old one open keeps it; it works where nothing was, too."""
        put(fs, f"{root}/file", b"old")
        put(fs, f"{root}/new", b"new")
        with fs.open(f"{root}/file") as reader:
            fs.replace(f"{root}/new", f"{root}/file")
            assert content(reader) == b"old"
        assert get(fs, f"{root}/file") == b"new"
        fs.replace(f"{root}/file", f"{root}/elsewhere")
        assert fs.list(root) == [Entry("elsewhere", Kind.FILE)]

    def test_replace_needs_a_file_and_takes_no_directory(self, fs: FileSystem, root: str) -> None:
        """The directory stays."""
        put(fs, f"{root}/file", b"")
        fs.make_directory(f"{root}/folder")
        with pytest.raises(IsADirectoryError):
            fs.replace(f"{root}/file", f"{root}/folder")
        with pytest.raises(FileNotFoundError):
            fs.replace(f"{root}/missing", f"{root}/file")
        assert fs.list(root) == [Entry("file", Kind.FILE), Entry("folder", Kind.DIRECTORY)]

    def test_link_gives_a_second_name(self, fs: FileSystem, root: str) -> None:
        """Both are the file, and it stays while it has one."""
        put(fs, f"{root}/one", b"data")
        fs.link(f"{root}/one", f"{root}/two")
        assert fs.stat(f"{root}/one") == fs.stat(f"{root}/two")
        assert fs.stat(f"{root}/two").link_count == 2
        fs.remove(f"{root}/one")
        assert get(fs, f"{root}/two") == b"data"
        assert fs.stat(f"{root}/two").link_count == 1

    def test_link_never_replaces(self, fs: FileSystem, root: str) -> None:
        """Neither a file nor a directory, nor the file itself under its other name."""
        put(fs, f"{root}/one", b"one")
        put(fs, f"{root}/two", b"two")
        fs.make_directory(f"{root}/folder")
        fs.link(f"{root}/one", f"{root}/same")
        for name in ("two", "folder", "same", "one"):
            with pytest.raises(FileExistsError):
                fs.link(f"{root}/one", f"{root}/{name}")
        assert get(fs, f"{root}/two") == b"two"

    def test_two_names_of_one_file_are_not_renamed_onto_each_other(self, fs: FileSystem, root: str) -> None:
        """A plain rename would do nothing there and say that it had."""
        put(fs, f"{root}/one", b"data")
        fs.link(f"{root}/one", f"{root}/two")
        with pytest.raises(FileExistsError):
            fs.rename(f"{root}/one", f"{root}/two")
        assert [entry.name for entry in fs.list(root)] == ["one", "two"]

    def test_link_needs_both_ends(self, fs: FileSystem, root: str) -> None:
        """What is linked, and the directory of its new name."""
        put(fs, f"{root}/one", b"")
        with pytest.raises(FileNotFoundError):
            fs.link(f"{root}/missing", f"{root}/two")
        with pytest.raises(FileNotFoundError):
            fs.link(f"{root}/one", f"{root}/missing/two")


class BeneathConformance:
    """Paths from untrusted manifests: nothing outside the root is ever reached."""

    def test_create_beneath_makes_folders(self, fs: FileSystem, root: str) -> None:
        """Those that are missing; it uses those that are there."""
        for name in ("a/b/one", "a/b/two", "a/c/three", "four"):
            with fs.create_beneath(root, name) as file:
                file.write_at(name.encode(), 0)
        files = [name for name, entry in walk(fs, root) if entry.kind is Kind.FILE]
        assert sorted(files) == ["a/b/one", "a/b/two", "a/c/three", "four"]
        for name in files:
            with fs.open_beneath(root, name) as reader:
                assert content(reader) == name.encode()

    def test_create_beneath_never_opens_what_is_there(self, fs: FileSystem, root: str) -> None:
        """Neither a file nor a directory."""
        fs.create_beneath(root, "folder/file").close()
        for name in ("folder/file", "folder"):
            with pytest.raises(FileExistsError):
                fs.create_beneath(root, name)

    def test_reopen_beneath_keeps_the_content(self, fs: FileSystem, root: str) -> None:
        """And can read and write it."""
        with fs.create_beneath(root, "folder/file") as file:
            file.write_at(b"0123456789", 0)
        with fs.reopen_beneath(root, "folder/file") as file:
            assert content(file) == b"0123456789"
            file.write_at(b"##", 4)
            file.sync()
        assert get(fs, f"{root}/folder/file") == b"0123##6789"

    def test_open_and_reopen_make_nothing(self, fs: FileSystem, root: str) -> None:
        """What is missing is missing."""
        for name in ("file", "folder/file"):
            with pytest.raises(FileNotFoundError):
                fs.open_beneath(root, name)
            with pytest.raises(FileNotFoundError):
                fs.reopen_beneath(root, name)
        assert fs.list(root) == []

    def test_a_file_is_not_a_folder_and_a_folder_not_a_file(self, fs: FileSystem, root: str) -> None:
        """Whichever is met where the other was meant."""
        fs.create_beneath(root, "folder/file").close()
        for verb in (fs.open_beneath, fs.reopen_beneath, fs.create_beneath):
            with pytest.raises(NotADirectoryError):
                verb(root, "folder/file/below")
        for verb in (fs.open_beneath, fs.reopen_beneath):
            with pytest.raises(IsADirectoryError):
                verb(root, "folder")

    @pytest.mark.parametrize("relative", OUTWARD_PATHS)
    def test_a_path_that_is_not_plain_is_refused(self, fs: FileSystem, root: str, relative: str) -> None:
        """Nothing is made, inside or outside."""
        fs.make_directory(f"{root}/inside")
        fs.make_directory(f"{root}/inside/folder")
        for verb in (fs.open_beneath, fs.reopen_beneath, fs.create_beneath):
            with refused(errno.EINVAL):
                verb(f"{root}/inside", relative)
        assert [name for name, _ in walk(fs, root)] == ["inside", "inside/folder"]

    def test_the_root_must_be_there(self, fs: FileSystem, root: str) -> None:
        """It is not made."""
        for verb in (fs.open_beneath, fs.reopen_beneath, fs.create_beneath):
            with pytest.raises(FileNotFoundError):
                verb(f"{root}/missing", "file")
        assert fs.list(root) == []


class SymlinksConformance:
    """Symbolic links: told apart from what they lead to, and never followed below a root."""

    def test_a_link_tells_where_it_leads(self, fs: FileSystem, root: str) -> None:
        """As it was written, whether or not anything is there."""
        fs.make_directory(f"{root}/folder")
        for target in ("../elsewhere/file", "/absolute", "ä b"):
            fs.make_symlink(f"{root}/folder/link", target)
            assert fs.read_symlink_beneath(root, "folder/link") == target
            assert fs.stat(f"{root}/folder/link").kind is Kind.SYMLINK
            assert fs.list(f"{root}/folder") == [Entry("link", Kind.SYMLINK)]
            fs.remove(f"{root}/folder/link")

    def test_a_link_is_made_once(self, fs: FileSystem, root: str) -> None:
        """Where nothing is, and its folder is there."""
        put(fs, f"{root}/file", b"data")
        fs.make_symlink(f"{root}/link", "file")
        for name in ("file", "link"):
            with pytest.raises(FileExistsError):
                fs.make_symlink(f"{root}/{name}", "other")
        with pytest.raises(FileNotFoundError):
            fs.make_symlink(f"{root}/missing/link", "file")
        assert get(fs, f"{root}/file") == b"data"

    def test_a_link_takes_the_place_of_a_file_in_one_step_and_back(self, fs: FileSystem, root: str) -> None:
        """What it leads to is not touched."""
        put(fs, f"{root}/file", b"old")
        put(fs, f"{root}/target", b"target")
        fs.make_symlink(f"{root}/new", "target")
        fs.replace(f"{root}/new", f"{root}/file")
        assert fs.read_symlink_beneath(root, "file") == "target"
        put(fs, f"{root}/new", b"back")
        fs.replace(f"{root}/new", f"{root}/file")
        assert get(fs, f"{root}/file") == b"back"
        assert get(fs, f"{root}/target") == b"target"

    def test_removing_a_link_leaves_what_it_leads_to(self, fs: FileSystem, root: str) -> None:
        """Only the name goes."""
        put(fs, f"{root}/file", b"data")
        fs.make_symlink(f"{root}/link", "file")
        fs.remove(f"{root}/link")
        assert get(fs, f"{root}/file") == b"data"
        assert not exists(fs, f"{root}/link")

    def test_what_is_no_link_leads_nowhere(self, fs: FileSystem, root: str) -> None:
        """A file, a folder, nothing."""
        put(fs, f"{root}/file", b"")
        fs.make_directory(f"{root}/folder")
        for name in ("file", "folder"):
            with refused(errno.EINVAL):
                fs.read_symlink_beneath(root, name)
        with pytest.raises(FileNotFoundError):
            fs.read_symlink_beneath(root, "missing")
        with pytest.raises(NotADirectoryError):
            fs.read_symlink_beneath(root, "file/link")

    def test_no_link_is_followed_below_the_root(self, fs: FileSystem, root: str) -> None:
        """Neither as the last component nor on the way; the root itself may be one."""
        for folder in ("inside", "outside"):
            fs.make_directory(f"{root}/{folder}")
        put(fs, f"{root}/outside/file", b"secret")
        fs.make_symlink(f"{root}/outside/link", "file")
        fs.make_symlink(f"{root}/inside/folder", "../outside")
        fs.make_symlink(f"{root}/inside/file", "../outside/file")
        fs.make_symlink(f"{root}/way", "outside")
        for verb in (fs.open_beneath, fs.reopen_beneath):
            with refused(errno.ELOOP):
                verb(f"{root}/inside", "folder/file")
            with refused(errno.ELOOP):
                verb(f"{root}/inside", "file")
        with refused(errno.ELOOP):
            fs.read_symlink_beneath(f"{root}/inside", "folder/link")
        with fs.open_beneath(f"{root}/way", "file") as file:
            assert content(file) == b"secret"
        assert fs.read_symlink_beneath(f"{root}/way", "link") == "file"

    @pytest.mark.parametrize("relative", OUTWARD_PATHS)
    def test_a_path_that_is_not_plain_has_no_link(self, fs: FileSystem, root: str, relative: str) -> None:
        """Nothing outside is read."""
        with refused(errno.EINVAL):
            fs.read_symlink_beneath(root, relative)


class LocksConformance:
    """Locks: many readers or one writer, until the context is left."""

    def test_an_exclusive_lock_keeps_all_others_out(self, fs: FileSystem, root: str) -> None:
        """Until it is left; the file is made on the way."""
        path = f"{root}/lock"
        with fs.lock(path, LockMode.EXCLUSIVE):
            assert fs.try_lock(path, LockMode.EXCLUSIVE) is None
            assert fs.try_lock(path, LockMode.SHARED) is None
        assert fs.list(root) == [Entry("lock", Kind.FILE)]
        self._is_free(fs, path)

    def test_shared_locks_stand_together(self, fs: FileSystem, root: str) -> None:
        """And keep an exclusive one out until the last is left."""
        path = f"{root}/lock"
        with fs.lock(path, LockMode.SHARED):
            second = fs.try_lock(path, LockMode.SHARED)
            assert second is not None
            with second:
                assert fs.try_lock(path, LockMode.EXCLUSIVE) is None
            assert fs.try_lock(path, LockMode.EXCLUSIVE) is None
        self._is_free(fs, path)

    def test_try_lock_holds_it_before_the_context_is_entered(self, fs: FileSystem, root: str) -> None:
        """Otherwise somebody could come in between."""
        held = fs.try_lock(f"{root}/lock", LockMode.EXCLUSIVE)
        assert held is not None
        assert fs.try_lock(f"{root}/lock", LockMode.EXCLUSIVE) is None
        with held:
            assert fs.try_lock(f"{root}/lock", LockMode.EXCLUSIVE) is None
        self._is_free(fs, f"{root}/lock")

    def test_an_error_frees_the_lock(self, fs: FileSystem, root: str) -> None:
        """And goes on to the caller."""

        def fail() -> None:
            with fs.lock(f"{root}/lock", LockMode.EXCLUSIVE):
                raise LookupError

        with pytest.raises(LookupError):
            fail()
        self._is_free(fs, f"{root}/lock")

    def test_locks_of_two_files_have_nothing_to_do_with_each_other(self, fs: FileSystem, root: str) -> None:
        """Each is its own."""
        with fs.lock(f"{root}/one", LockMode.EXCLUSIVE):
            self._is_free(fs, f"{root}/two")

    def test_a_lock_needs_its_folder(self, fs: FileSystem, root: str) -> None:
        """It is not made."""
        with pytest.raises(FileNotFoundError):
            fs.try_lock(f"{root}/missing/lock", LockMode.SHARED)
        with pytest.raises(FileNotFoundError), fs.lock(f"{root}/missing/lock", LockMode.SHARED):
            pass

    def _is_free(self, fs: FileSystem, path: str) -> None:
        held = fs.try_lock(path, LockMode.EXCLUSIVE)
        assert held is not None
        with held:
            pass


class DiskConformance(
    FilesConformance,
    DirectoriesConformance,
    NamesConformance,
    BeneathConformance,
    SymlinksConformance,
    LocksConformance,
):
    """All of it."""
