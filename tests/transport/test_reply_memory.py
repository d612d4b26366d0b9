"""Memory for large replies: bodies on their way in, and answers that wait for the disk."""

from batchgen.transport.reply_memory import Room, Share


def test_answers_that_wait_for_the_disk_hold_bodies_up():
    """While they do, no body is read on beyond the room, not even one; then the first that asked goes on."""
    room, went_on = Room(100), []
    first, second = Share(room, lambda: went_on.append(1)), Share(room, lambda: went_on.append(2))
    room.hold(80)
    assert first.grow(10)
    assert not first.grow(20)
    assert not second.grow(5)
    room.release(80)
    assert went_on == [1, 2]
    assert not room.full


def test_one_body_is_read_on_when_bodies_alone_fill_the_room():
    """Else nobody would ever be done."""
    room, went_on = Room(100), []
    first, second = Share(room), Share(room, lambda: went_on.append(2))
    assert first.grow(150)
    assert not second.grow(10)
    room.hold(30)
    first.give_back()
    assert went_on == [2]
    room.release(30)
    assert not room.full
