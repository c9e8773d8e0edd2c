"""AutoAttack, standard version, and a smaller ensemble for suites that cannot pay for it."""

from abc import abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from benchmark.evasion.apgd import APGD
from benchmark.evasion.attack import Perturbed
from benchmark.evasion.fab import FAB
from benchmark.evasion.margin_losses import log_odds
from benchmark.evasion.pmd import PMD
from benchmark.evasion.pooled import PooledEvasion, pool_logits
from benchmark.evasion.square import Square
from benchmark.machine.copies import rows_where


class Ensemble(PooledEvasion):
    """Attacks one after the other, each anew from the clean image, on what still stands.

    An image counts as fooled once the network, as it is, errs on what a part made of it. One that stands comes back at
    the point of highest cross-entropy that any part gave back. Each part has a seed of its own, so that what is put
    before others leaves their draws as they are.
    """

    @property
    @abstractmethod
    def parts(self) -> Sequence[PooledEvasion]:
        """In their order."""

    @property
    def passes(self) -> int:
        return sum(part.passes for part in self.parts)

    @property
    def forward_only(self) -> int:
        return sum(part.forward_only for part in self.parts)

    def remark(self, num_classes: int) -> str:
        return "; ".join(dict.fromkeys(said for part in self.parts if (said := part.remark(num_classes))))

    def perturb_pool(
        self, model: nn.Module, images: Tensor, labels: Tensor, generator: torch.Generator, batch_size: int
    ) -> Perturbed:
        images = images.contiguous(memory_format=torch.channels_last)
        found, odds = images.clone(), torch.full((len(images),), float("-inf"), device=images.device)
        stands = pool_logits(model, images, batch_size).argmax(1) == labels
        by_black_box = torch.zeros_like(stands)
        parts = self.parts
        # The last part has the first seed.
        seeds = torch.randint(2**62, (len(parts),), generator=generator).flip(0).tolist()
        for part, seed in zip(parts, seeds, strict=True):
            if not bool(stands.any()):
                break
            # All images, so that a part's draws do not depend on which stand; it leaves fooled ones as they are.
            given = torch.where(stands.view(-1, 1, 1, 1), images, found)
            made = part.perturb_pool(model, given, labels, torch.Generator().manual_seed(seed), batch_size).images
            ids = stands.nonzero().flatten()
            logits = pool_logits(model, made[ids], batch_size)
            wrong = logits.argmax(1) != labels[ids]
            reached = log_odds(logits, labels[ids])
            better, fooled = rows_where(wrong | (reached > odds[ids]), wrong)
            found[ids[better]], odds[ids[better]] = made[ids[better]], reached[better]
            stands.index_fill_(0, ids[fooled], False)
            by_black_box.index_fill_(0, ids[fooled], part.KIND == "black_box")
        has_black_box = any(part.KIND == "black_box" for part in parts)
        return Perturbed(found, torch.zeros(0), by_black_box if has_black_box else None)


class AutoAttack(Ensemble):
    """APGD on cross-entropy, targeted APGD, targeted FAB and Square, with the standard version's settings.

    100 iterations, one run, 9 target classes (fewer where there are fewer), 5,000 queries. What it leaves open where
    there are fewer than four classes is said in `margin_losses`. The name is for this order and budget alone.
    screen: run `autoattack_quick` first. An image still counts as robust only after all four, whose draws stay as they
    are, so that the number can only fall, also below the standard version's. Off, so that numbers compare with those of
    others, and because it saves nothing: what falls to it nearly always falls to the first steps of APGD, and what
    stands pays for both.
    """

    SOURCE = "Croce and Hein 2020, arXiv 2003.01690"
    TOLD_IF_SET = ("screen",)
    screen: bool = False

    @property
    def parts(self) -> Sequence[PooledEvasion]:
        norm, epsilon = self.norm, self.epsilon
        standard = (
            APGD(norm=norm, epsilon=epsilon),
            APGD(norm=norm, epsilon=epsilon, loss="targeted_dlr"),
            FAB(norm=norm, epsilon=epsilon),
            Square(norm=norm, epsilon=epsilon),
        )
        return (*AutoAttackQuick(norm=norm, epsilon=epsilon).parts, *standard) if self.screen else standard


class AutoAttackQuick(Ensemble):
    """Probability-margin descent, then targeted APGD on three classes in the `almost_linear` order: about a fiftieth of
    what AutoAttack costs, for suites that take minutes. Not AutoAttack: numbers are a little above its.
    """

    SOURCE = "of Xie et al. 2025, arXiv 2411.15210; Croce and Hein 2020, arXiv 2003.01690; Melamed et al. 2024"

    @property
    def parts(self) -> Sequence[PooledEvasion]:
        norm, epsilon = self.norm, self.epsilon
        return (
            PMD(norm=norm, epsilon=epsilon, steps=10),
            APGD(norm=norm, epsilon=epsilon, loss="targeted_dlr", targets=3, targets_by="almost_linear", steps=20),
        )
