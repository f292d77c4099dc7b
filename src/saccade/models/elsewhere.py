"""Networks that people know from elsewhere and Saccade does not have, each with the nearest one here.

Nearest: of about the same size, and of about the same accuracy on ImageNet by timm's table
(results/results-imagenet.csv of huggingface/pytorch-image-models at aa4b5850, 2026-08-08).
"""

from ..core.registry import spelled

# The beginning of a name, as `spelled` has it -> (family, nearest here). The longest beginning counts.
ELSEWHERE = {
    "beit": ("BEiT", "convnext-base"),
    "cait": ("CaiT", "convnext-small"),
    "clip": ("CLIP", "vit-b16-siglip"),
    "coatnet": ("CoAtNet", "convnext-tiny"),
    "convmixer": ("ConvMixer", "resnext50-32x4d"),
    "convnextlarge": ("ConvNeXt large", "convnext-base"),
    "convnextv2": ("ConvNeXt V2", "convnext-tiny"),
    "convnextv2atto": ("ConvNeXt V2 atto", "convnext-atto"),
    "convnextv2base": ("ConvNeXt V2 base", "convnext-base"),
    "convnextv2nano": ("ConvNeXt V2 nano", "convnext-nano"),
    "cspdarknet": ("CSPDarkNet", "resnet50"),
    "darknet": ("DarkNet", "resnet50"),
    "deit": ("DeiT", "convnext-tiny"),
    "deittiny": ("DeiT tiny", "mobilenetv3-large"),
    "dinov2vitg14": ("DINOv2 ViT-g/14", "vit-b14-dinov2"),
    "dinov2vitl14": ("DINOv2 ViT-L/14", "vit-b14-dinov2"),
    "dla": ("DLA", "resnet50"),
    "dpn": ("DPN", "resnext50-32x4d"),
    "edgenext": ("EdgeNeXt", "convnext-femto"),
    "efficientformer": ("EfficientFormer", "convnext-pico"),
    "efficientnetb5": ("EfficientNet-B5", "efficientnet-b4"),
    "efficientnetb6": ("EfficientNet-B6", "efficientnet-b4"),
    "efficientnetb7": ("EfficientNet-B7", "efficientnet-b4"),
    "efficientnetv2l": ("EfficientNetV2-L", "convnext-base"),
    "efficientnetv2m": ("EfficientNetV2-M", "convnext-small"),
    "eva": ("EVA", "convnext-base"),
    "fastvit": ("FastViT", "convnext-nano"),
    "fbnet": ("FBNet", "mobilenetv3-large"),
    "ghostnet": ("GhostNet", "mobilenetv3-large"),
    "hrnet": ("HRNet", "resnet50"),
    "levit": ("LeViT", "convnext-femto"),
    "lcnet": ("LCNet", "mobilenetv3-small"),
    "maxvit": ("MaxViT", "convnext-tiny"),
    "maxvittiny": ("MaxViT tiny", "convnext-tiny"),
    "mixnet": ("MixNet", "efficientnet-b0"),
    "mnasnet": ("MnasNet", "mobilenetv3-large"),
    "mobileone": ("MobileOne", "mobilenetv3-large"),
    "mobilevit": ("MobileViT", "mobilenetv4-conv-medium"),
    "nasnet": ("NASNet", "efficientnet-b3"),
    "nfnet": ("NFNet", "convnext-small"),
    "pvt": ("PVT", "convnext-tiny"),
    "regnetx": ("RegNetX", "regnety-1.6gf"),
    "repvgg": ("RepVGG", "resnet50"),
    "res2net": ("Res2Net", "resnet50"),
    "resnest": ("ResNeSt", "resnext50-32x4d"),
    "resnet200": ("ResNet-200", "resnet152"),
    "resnet26": ("ResNet-26", "resnet34"),
    "rexnet": ("ReXNet", "efficientnet-b0"),
    "swin": ("Swin", "convnext-tiny"),
    "swinb": ("Swin base", "convnext-base"),
    "swinbase": ("Swin base", "convnext-base"),
    "swinlarge": ("Swin large", "convnext-base"),
    "swins": ("Swin small", "convnext-small"),
    "swinsmall": ("Swin small", "convnext-small"),
    "swint": ("Swin tiny", "convnext-tiny"),
    "tinyvit": ("TinyViT", "convnext-nano"),
    "tresnet": ("TResNet", "resnet50"),
    "vit": ("such vision transformer", "convnext-tiny"),
    "vitb": ("ViT-B of ImageNet's classes", "vit-b16-siglip"),
    "vitbase": ("ViT-B of ImageNet's classes", "vit-b16-siglip"),
    "vitgiantpatch14dinov2": ("DINOv2 ViT-g/14", "vit-b14-dinov2"),
    "vitl": ("ViT-L", "convnext-base"),
    "vitlargepatch14dinov2": ("DINOv2 ViT-L/14", "vit-b14-dinov2"),
    "vitlargepatch16siglip": ("SigLIP ViT-L/16", "vit-b16-siglip"),
    "vits": ("ViT-S of ImageNet's classes", "vit-s14-dinov2"),
    "vitsmall": ("ViT-S of ImageNet's classes", "vit-s14-dinov2"),
    "xception": ("Xception", "inception-v3"),
    "xcit": ("XCiT", "convnext-small"),
    "yolo": ("YOLO classifier", "mobilenetv3-large"),
}


def nearest_here(name: str) -> tuple[str, str] | None:
    """(family, the nearest network here) for the name of a network of others; None where it is not known."""
    key = spelled(name)
    for length in range(len(key), 2, -1):
        if key[:length] in ELSEWHERE:
            return ELSEWHERE[key[:length]]
    return None
