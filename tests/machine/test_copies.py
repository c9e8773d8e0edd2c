"""What is asked of a device, and what is sent to it; and the stand-in device that counts what has to be waited for."""

import pytest
import torch
from stand_in_device import DEVICE, OnDevice, StandIn, values

from benchmark.machine.copies import rows_where, sent, told

X = torch.arange(12.0).view(4, 3)
MASK = torch.tensor([True, False, True, True])


def test_values_come_back_and_the_cpu_waits_for_what_it_asks_for() -> None:
    with StandIn() as device:
        x = sent(X, DEVICE)
        assert isinstance(x, OnDevice) and not device.stalls
        doubled = (2 * x + torch.ones(3, device=DEVICE)).requires_grad_()
        (gradient,) = torch.autograd.grad((doubled * doubled).sum(), doubled)
        assert not device.stalls, "to compute is not to wait"
        assert float(doubled.detach().sum()) == 2 * 66 + 12
        assert device.stalls.total() == 1
        assert torch.equal(gradient.cpu(), 2 * (2 * X + 1))
    assert device.stalls.total() == 2


@pytest.mark.parametrize(
    ("count", "what"),
    [
        (1, lambda x, mask: x[mask]),
        (1, lambda x, mask: x.nonzero()),
        (1, lambda x, mask: x.masked_select(mask[:, None])),
        (1, lambda x, mask: x.unique()),
        (1, lambda x, mask: bool(mask.any())),
        (1, lambda x, mask: x.tolist()),
        (1, lambda x, mask: X.to(DEVICE)),
        (1, lambda x, mask: x.clone().copy_(X)),
        (1, lambda x, mask: x[torch.tensor([0, 2])]),
        (1, lambda x, mask: x.clone().index_put_((mask,), x[0])),
        (1, lambda x, mask: x.repeat_interleave(torch.ones(3, dtype=torch.long, device=DEVICE), dim=1)),
        (0, lambda x, mask: x.repeat_interleave(2)),
        (0, lambda x, mask: x.clone().masked_fill_(mask[:, None], 0)),
        (0, lambda x, mask: torch.where(mask[:, None], x, 0)),
        (0, lambda x, mask: x[torch.arange(2, device=DEVICE)]),
        (0, lambda x, mask: x.cumsum(0).argmax(1).float().clamp(0, 1)),
        (0, lambda x, mask: X[MASK].nonzero().tolist()),
    ],
)
def test_what_cuda_waits_for_is_counted(count: int, what: object) -> None:
    with StandIn() as device:
        x, mask = sent(X, DEVICE), sent(MASK, DEVICE)
        assert callable(what)
        what(x, mask)
    assert device.stalls.total() == count, device.stalls


def test_two_devices_do_not_mix() -> None:
    with StandIn(), pytest.raises(RuntimeError, match="on the device, and one of .4, 3. on the CPU"):
        sent(X, DEVICE) + X


def test_a_single_number_may_be_anywhere_in_arithmetic_alone() -> None:
    with StandIn() as device:
        x, number = sent(X, DEVICE), torch.tensor(1.0)
        assert torch.equal(values(x + number), X + 1) and not device.stalls
        with pytest.raises(RuntimeError, match="lerp"):
            torch.lerp(x, number, 0.5)


@pytest.mark.parametrize("there", [False, True])
def test_rows_of_several_masks_cost_one_stall(there: bool) -> None:
    short = torch.tensor([False, True])
    with StandIn() as device:
        masks = [sent(mask, DEVICE) for mask in (MASK, short)] if there else [MASK, short]
        rows = rows_where(*masks)
        assert all(isinstance(each, OnDevice) == there for each in rows)
        assert [values(each).tolist() for each in rows] == [[0, 2, 3], [1]]
        assert device.stalls.total() == there
        assert all(each.device.type == "cpu" for each in told(*masks))
        assert device.stalls.total() == 2 * there


class Paged(torch.Tensor):
    """Says what was asked of it on the way to CUDA, which is not there."""

    asked: list[str]

    def pin_memory(self, *_: object) -> "Paged":
        self.asked.append("pin_memory")
        return self

    def to(self, device: torch.device, non_blocking: bool) -> "Paged":  # type: ignore[override]
        self.asked.append(f"to {device} non_blocking={non_blocking}")
        return self


def test_to_cuda_goes_page_locked_memory_that_nobody_waits_for() -> None:
    values = torch.ones(3).as_subclass(Paged)
    values.asked = []
    sent(values, torch.device("cuda"))
    assert values.asked == ["pin_memory", "to cuda non_blocking=True"]
    assert sent(X, torch.device("cpu")) is X
