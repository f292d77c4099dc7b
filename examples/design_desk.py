"""What a network costs before anything runs: a published one, two side by side, and one of your own on one line."""

from saccade import api


def main() -> None:
    table = api.table("resnet18")
    print(f"resnet18: {table.totals.parameters:,} parameters, {table.totals.multiply_adds:,} multiply-adds")
    for layer in table.layers[:5]:
        print(f"  {layer.name:24} {layer.output} receptive field {layer.receptive_field}")

    print(f"memory of a training step, 32 images: {table.memory.training_peak / 1e9:.2f} GB")

    for name in ("plain34", "resnet34"):  # the shortcut costs nothing: He et al. 2015, table 1
        totals = api.table(name).totals
        print(f"{name}: {totals.parameters / 1e6:.1f} million parameters, {totals.multiply_adds / 1e9:.2f} billion")

    own = api.table(
        "conv 16 f3 same | pool | conv 32 f3 same | pool | fc 64",
        api.TableRequest(input_CHW=(3, 32, 32), num_classes=10),
    )
    print(f"your own, on one line: {own.totals.parameters:,} parameters")


if __name__ == "__main__":
    main()
