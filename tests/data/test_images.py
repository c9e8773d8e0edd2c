"""One index space over training and test images."""

import torch

from benchmark.data.images import ImageData


def data() -> ImageData:
    """Five training and three test images; every pixel of an image says which it is."""
    pixels = torch.arange(8, dtype=torch.uint8).view(8, 1, 1, 1).expand(8, 2, 3, 4).contiguous()
    labels = torch.tensor([0, 1, 2, 0, 1, 2, 1, 0])
    return ImageData(
        images=pixels[:5],
        labels=labels[:5],
        test_images=pixels[5:],
        test_labels=labels[5:],
        class_names=("a", "b", "c"),
        mean=(0.5, 0.5),
        std=(0.3, 0.3),
        card="numbered",
    )


def test_test_images_follow_the_training_images() -> None:
    images = data()
    for ids in ([4, 5, 0, 7, 7], [1, 2], [6], []):
        found = images.pixels(torch.tensor(ids, dtype=torch.int64))
        assert found.shape == (len(ids), 2, 3, 4) and found.dtype == torch.uint8
        assert found[:, 0, 0, 0].tolist() == ids and bool((found == found[:, :1, :1, :1]).all())
    assert images.test_ids(torch.tensor([2, 0])).tolist() == [7, 5]


def test_classes_keep_the_shape_of_the_ids() -> None:
    found = data().classes(torch.tensor([[0, 4, 5], [6, 7, 2]]))
    assert found.tolist() == [[0, 1, 2], [1, 0, 2]] and found.dtype == torch.int64
    assert data().classes(torch.tensor([[3], [1]])).tolist() == [[0], [1]]
