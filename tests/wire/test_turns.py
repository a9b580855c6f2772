"""The lock that those who send are not kept waiting for."""

import threading

from streamprn.wire.turns import SendLock
from tests.support.wire import eventually


def test_a_patient_holder_sees_who_wants_to_send_and_nobody_else():
    lock, order = SendLock(), []

    def work_off() -> None:
        with lock.patient:
            order.append("patient")

    def send() -> None:
        with lock:
            order.append("sent")

    patient = threading.Thread(target=work_off)
    sender = threading.Thread(target=send)
    lock.patient.acquire()
    patient.start()
    patient.join(0.05)
    assert patient.is_alive()
    assert not lock.wanted
    sender.start()
    eventually(lambda: lock.wanted)
    assert order == []
    lock.patient.release()
    patient.join(5)
    sender.join(5)
    assert sorted(order) == ["patient", "sent"]
    assert not lock.wanted


def test_who_finds_it_free_wants_nothing_of_others():
    lock = SendLock()
    with lock:
        assert lock.patient.locked()
        assert not lock.wanted
    assert not lock.patient.locked()
