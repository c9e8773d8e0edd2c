"""Lists of members as users, pandas and spreadsheets write them: each is read as it is meant, or refused."""

from pathlib import Path

import numpy as np
import pytest

from benchmark.data.members.member_lists import read_members


def test_lists_of_members_are_read_in_every_format(tmp_path: Path) -> None:
    ids = [7, 3, 11]
    (tmp_path / "a.txt").write_text("7\n 3 \n\n11\n")
    (tmp_path / "a.csv").write_text("index\n7\n3\n11\n")
    (tmp_path / "b.csv").write_text("7\n3\n11")
    np.save(tmp_path / "a.npy", np.array(ids, dtype=np.int32))
    np.savez(tmp_path / "a.npz", np.array(ids, dtype=np.uint64))
    np.savez(tmp_path / "b.npz", labels=np.zeros(3), members=np.array(ids))
    for name in ("a.txt", "a.csv", "b.csv", "a.npy", "a.npz", "b.npz"):
        assert read_members(tmp_path / name, 12).tolist() == [3, 7, 11], name


TABLES = {
    "pandas": b",member\n0,7\n1,3\n2,11\n",
    "several columns": b"index,label,Members\n0,cat,7\n1,dog,3\n2,cat,11\n",
    "quoted, with a comma in a name": b'"name, first","member"\n"a, b","7"\n"c","3"\n"d","11"\n',
    "semicolons": b";MEMBER;\r\n0;7;\r\n1;3;\r\n2;11;\r\n",
    "tabs": b"row\tmember\n0\t7\n1\t3\n2\t11\n",
    "byte order mark": b"\xef\xbb\xbf7\n3\n11\n",
    "byte order mark and a quoted header": b'\xef\xbb\xbf"","member"\n"0","7"\n"1","3"\n"2","11"\n',
    "commas at the end": b"7,\n3,\n11,,\n",
}


@pytest.mark.parametrize("content", TABLES.values(), ids=TABLES)
def test_tables_are_read_by_the_names_of_their_columns(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "members.csv").write_bytes(content)
    assert read_members(tmp_path / "members.csv", 12).tolist() == [3, 7, 11]


def test_a_byte_order_mark_in_a_text_is_no_part_of_the_first_member(tmp_path: Path) -> None:
    (tmp_path / "members.txt").write_bytes(b"\xef\xbb\xbf7\r\n3\r\n")
    assert read_members(tmp_path / "members.txt", 12).tolist() == [3, 7]


def test_a_mask_has_a_bool_for_each_training_image(tmp_path: Path) -> None:
    mask = np.isin(np.arange(12), [3, 7, 11])
    np.save(tmp_path / "a.npy", mask)
    np.savez(tmp_path / "a.npz", members=mask, ids=np.arange(12))
    for name in ("a.npy", "a.npz"):
        assert read_members(tmp_path / name, 12).tolist() == [3, 7, 11]
        with pytest.raises(ValueError, match=r"bool and shape \(12,\); allowed: .* or bool of shape \(13,\)"):
            read_members(tmp_path / name, 13)
    np.save(tmp_path / "a.npy", mask.astype(np.uint8))
    with pytest.raises(ValueError, match=r"lists 0 twice \(a mask of 0 and 1\?"):
        read_members(tmp_path / "a.npy", 12)


WRONG = [
    ("text.txt", b"1\ntwo\n", "holds 'two' in line 2; allowed: an integer a line"),
    ("header.txt", b"index\n1\n", "holds 'index' in line 1"),
    ("real.csv", b"1.5\n2.5\n", "holds '1.5' in line 1"),
    ("empty.txt", b"\n", "lists no members; allowed: at least one"),
    ("negative.txt", b"-1\n", "lists -1, which is no training image; allowed: 0 to 11"),
    ("large.txt", b"1\n12\n", "lists 12, which is no training image; allowed: 0 to 11"),
    ("huge.txt", b"99999999999999999999\n", "holds '99999999999999999999' in line 1"),
    ("twice.txt", b"4\n5\n4\n", "lists 4 twice; allowed: each member once"),
    ("binary.txt", b"\xff\xfe\x00", "cannot be read"),
    ("broken.npy", b"\x93NUMPY\x01", "cannot be read"),
    ("broken.npz", b"PK\x03\x04", "cannot be read"),
    ("pickle.npy", b"cposix\nsystem\n(S'true'\ntR.", "cannot be read"),
    ("two.txt", b"0,1\n2\n", "holds '0,1' in line 1; allowed: an integer a line"),
    ("two-tabs.txt", b"2\n0\t1\n", "holds '0\\t1' in line 2; allowed: an integer a line"),
    ("two-spaces.txt", b"0 1\n2\n", "holds '0 1' in line 1"),
    ("two.csv", b"3\n0,1\n", "holds '0,1' in line 2; allowed: an integer a line, or a column called members"),
    ("semicolons.csv", b"0;17\n1;4\n", "holds '0,17' in line 1"),
    ("pandas-series.csv", b",0\n0,7\n1,4\n", "holds ',0' in line 1"),
    ("r.csv", b'"members"\n"1",7\n"2",4\n', "holds '1,7' in line 2"),
    ("columns.csv", b"index,label\n7,cat\n", "has the columns 'index, label'; allowed: one of them called members"),
    ("no-name.csv", b",id\n0,7\n1,4\n", "has the columns '(no name), id'; allowed: one of them called members"),
    ("both.csv", b"member,members\n1,2\n", "has the columns 'member, members'"),
    ("first-float.csv", b"7.0\n3\n4\n", "holds '7.0' in line 1"),
    ("floats.csv", b",member\n0,7.0\n1,4.0\n", "holds '7.0' in line 2"),
    ("hole.csv", b"id,member\n0,7\n1,\n2,4\n", "holds '' in line 3"),
    ("mask.csv", b"id,member\n0,True\n1,False\n", "holds 'True' in line 2"),
    ("zeros.csv", b"id,member\n0,1\n1,0\n2,1\n", "lists 1 twice (a mask of 0 and 1? an array of bool may be one)"),
    ("header-only.csv", b",member\n", "lists no members"),
    ("utf-16.csv", "member\n7\n".encode("utf-16"), "cannot be read: line 1 is not UTF-8"),
    ("list.json", b"[1]", "is not a list of members; allowed: .txt, .csv, .npy, .npz"),
]


@pytest.mark.parametrize(("name", "content", "said"), WRONG, ids=[name for name, _, _ in WRONG])
def test_a_list_that_is_none_is_one_line(tmp_path: Path, name: str, content: bytes, said: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError) as error:
        read_members(tmp_path / name, 12)
    assert said in str(error.value) and name in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("array", "said"),
    [(np.array([True, False]), "an array of bool"), (np.array([1.0]), "of float64"), (np.ones((2, 2), int), "(2, 2)")],
)
def test_an_array_that_is_no_list_is_one_line(tmp_path: Path, array: "np.ndarray", said: str) -> None:
    np.save(tmp_path / "a.npy", array)
    with pytest.raises(ValueError) as error:
        read_members(tmp_path / "a.npy", 12)
    assert said in str(error.value) and "allowed: integers of shape (number of members,)" in str(error.value)
    np.savez(tmp_path / "a.npz", first=array, second=array)
    with pytest.raises(ValueError, match="it holds the arrays first, second; allowed: one array, or one named members"):
        read_members(tmp_path / "a.npz", 12)


def test_durations_are_no_indices(tmp_path: Path) -> None:
    np.save(tmp_path / "members.npy", np.array([0, 1], "m8[s]"))
    with pytest.raises(ValueError, match="allowed: integers"):
        read_members(tmp_path / "members.npy", 10)
