"""Mask2Former's set loss as it was first written: image by image and layer by layer, with a look at
the device whenever something is asked. What the plugin's must equal, bit for bit."""

import torch
import torch.nn.functional as F
from benchbcss_mask2former.points import EDGE, read
from scipy.optimize import linear_sum_assignment


def set_loss(layers, target, settings, num_classes, ignore_index=255):
    known = [(one.flatten() != ignore_index).nonzero()[:, 0] for one in target]
    classes = [one.flatten()[index].unique() for one, index in zip(target, known, strict=True)]
    totals = {}
    for class_logits, mask_logits in layers:
        terms = _layer(class_logits, mask_logits, target, known, classes, settings, num_classes)
        for name, term in terms.items():
            totals[name] = totals[name] + term if name in totals else term
    return totals


def _layer(class_logits, mask_logits, target, known, classes, settings, num_classes):
    masks = max(1, sum(len(present) for present in classes))
    wanted = torch.full(class_logits.shape[:2], num_classes)
    mask_loss = dice_loss = mask_logits.sum() * 0.0
    for i, present in enumerate(classes):
        if not len(present):
            wanted[i] = -100
            continue
        image = (class_logits[i], mask_logits[i], target[i], known[i], present)
        query, which = _match(*image, settings)
        wanted[i, query] = present[which]
        chosen = mask_logits[i, query]
        xy, labels = _draw_uncertain(chosen.detach(), target[i], known[i], settings)
        logits = read(chosen, xy)
        truth = (labels == present[which][:, None]).float()
        bce = F.binary_cross_entropy_with_logits(logits, truth, reduction="none")
        mask_loss = mask_loss + bce.mean(1).sum()
        probability = logits.sigmoid()
        overlap = 2 * (probability * truth).sum(1)
        dice = 1 - (overlap + 1) / (probability.sum(1) + truth.sum(1) + 1)
        dice_loss = dice_loss + dice.sum()
    weight = torch.ones(num_classes + 1)
    weight[-1] = settings["no_object_weight"]
    flat = wanted.flatten()
    total = F.cross_entropy(class_logits.flatten(0, 1), flat, weight=weight, reduction="sum")
    scale = weight[flat[flat >= 0]].sum().clamp(min=torch.finfo(torch.float32).tiny)
    return {
        "class": settings["class_weight"] * total / scale,
        "mask": settings["mask_weight"] * mask_loss / masks,
        "dice": settings["dice_weight"] * dice_loss / masks,
    }


@torch.no_grad()
def _match(class_logits, mask_logits, target, known, present, settings):
    xy, labels = _draw(target, known, (settings["points"],))
    logits = read(mask_logits, xy)
    truth = (labels == present[:, None]).float()
    bce = (F.softplus(logits).sum(1, keepdim=True) - logits @ truth.T) / logits.shape[1]
    probability = logits.sigmoid()
    area = probability.sum(1, keepdim=True) + truth.sum(1)
    dice = 1 - (2 * probability @ truth.T + 1) / (area + 1)
    cost = (
        settings["class_weight"] * -class_logits.softmax(-1)[:, present]
        + settings["mask_weight"] * bce
        + settings["dice_weight"] * dice
    )
    cost = torch.nan_to_num(cost, nan=1e6, posinf=1e6, neginf=-1e6)
    query, which = linear_sum_assignment(cost.cpu().numpy())
    return torch.as_tensor(query), torch.as_tensor(which)


def _draw(target, known, shape):
    height, width = target.shape
    pixel = known[torch.randint(len(known), shape)]
    inside = torch.rand((*shape, 2)) * (1 - 2 * EDGE) + EDGE
    corner = torch.stack([pixel % width, pixel // width], -1)
    return (corner + inside) / torch.tensor([width, height]), target.flatten()[pixel]


@torch.no_grad()
def _draw_uncertain(masks, target, known, settings):
    count = settings["points"]
    sharp = int(settings["importance"] * count)
    many = max(count, int(settings["oversample"] * count))
    many, labels = _draw(target, known, (len(masks), many))
    chosen = (-read(masks, many).abs()).topk(sharp, dim=1).indices
    many = many.gather(1, chosen[..., None].expand(-1, -1, 2))
    rest, rest_labels = _draw(target, known, (len(masks), count - sharp))
    return torch.cat([many, rest], 1), torch.cat([labels.gather(1, chosen), rest_labels], 1)
