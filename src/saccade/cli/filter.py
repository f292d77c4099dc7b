"""`saccade filter`: a kernel over a photo, or the kernel that a photo and its target teach."""

from pathlib import Path

import typer

from ..core.errors import UsageError, printable


def filter_image(
    image: Path = typer.Argument(..., metavar="IMAGE", help="A photo, grey or colour; or numbers: .npy or .csv."),
    kernel: str = typer.Option(
        "",
        metavar="KERNEL",
        help="NAME (sobel-x, emboss, ...), NAME@DEGREES, an edge at any angle (45deg), or numbers '1,0,-1;1,0,-1'.",
    ),
    learn: str = typer.Option(
        "",
        metavar="TARGET",
        help="Learn the kernel instead, from a target: a picture, a .npy or .csv file, or a kernel as for --kernel.",
    ),
    out: Path | None = typer.Option(
        None, metavar="FILE", help="Write the result: .png or .jpg, or .npy for the numbers themselves."
    ),
    sheet: Path | None = typer.Option(
        None, metavar="FILE", help="Write a .png of the photo beside the result, with the kernel and a legend."
    ),
    show: str = typer.Option(
        "auto",
        metavar="VIEW",
        help="signed (blue below zero, orange above), absolute, clipped (0 to 255); auto: signed for edges.",
    ),
    padding: str = typer.Option("valid", metavar="PADDING", help="valid (none), same or zero, reflect, replicate."),
    stride: int = typer.Option(1, metavar="N", help="Step of the window in pixels."),
    true_convolution: bool = typer.Option(False, "--true-convolution", help="Flip the kernel first."),
    divide_by: float = typer.Option(1.0, metavar="NUMBER", help="Divide the kernel's numbers by this."),
    grey: bool = typer.Option(False, "--grey", help="Filter the brightness instead of each colour channel."),
    kernel_size: int = typer.Option(3, metavar="N", help="Rows and columns to learn where the target is a file."),
    seed: int = typer.Option(0, metavar="N", help="Seed of the random numbers that learning starts from."),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON object."),
) -> None:
    """Apply a kernel to a photo or to numbers, or learn one from a photo and its target.

    Results of up to 16x16 are printed whole."""
    if bool(kernel) == bool(learn):
        raise UsageError(
            "Give either --kernel (apply it) or --learn (find it from a target).\n"
            "For example: saccade filter photo.jpg --kernel scharr-x --out edges.png"
        )
    from ..filters.laboratory import Output, apply_kernel, learn_from_photo, report_as_json
    from ..filters.photo import FilterOptions
    from ..filters.text import report_as_text
    from .output import print_json, print_result

    options = FilterOptions(
        padding=padding, stride=stride, true_convolution=true_convolution, divide_by=divide_by, grey=grey
    )
    if sheet is not None and out is not None and sheet.resolve() == out.resolve():
        raise UsageError(f"--out and --sheet name the same file, {printable(str(out))}.\nGive each its own.")
    output = Output(path=out, show=show, sheet=sheet)
    if kernel:
        report = apply_kernel(image, kernel, options, output)
    else:
        report = learn_from_photo(image, learn, options, output, kernel_size, seed)
    if as_json:
        print_json(report_as_json(report))
    else:
        print_result(report_as_text(report))
