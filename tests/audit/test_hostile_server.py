"""What a hostile or broken server sends ends in words: nothing is unpacked, followed or guessed."""

import gzip
import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from saccade.audit.endpoint import open_endpoint
from saccade.audit.protocol import WantedOutput, open_client
from saccade.core.errors import EndpointError, UsageError

OK = b"HTTP/1.1 200 OK\r\nConnection: close\r\n"
PROTOCOL = "Check the address: it is that of a server with the routes /v2."


@contextmanager
def raw_server(*answers: bytes, pause_s: float = 0.0, content: bytes = b"photo") -> Iterator[str]:
    """The address of a server that sends each of `answers` to one connection, behind a request that ends with
    `content`; with `pause_s` byte after byte."""
    listener = socket.create_server(("127.0.0.1", 0))

    def talk() -> None:
        for answer in answers:
            connection, _ = listener.accept()
            with connection:
                received = b""
                while not received.endswith(b"\r\n\r\n" if received.startswith(b"GET") else content):
                    received += connection.recv(1 << 16)
                step = 1 if pause_s else len(answer)
                for start in range(0, len(answer), step):
                    try:
                        connection.sendall(answer[start : start + step])
                    except OSError:
                        break  # the client has gone
                    time.sleep(pause_s if start > answer.find(b"\r\n\r\n") else 0)

    thread = threading.Thread(target=talk)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        thread.join()
        listener.close()


def with_body(content: bytes, headers: bytes = b"") -> bytes:
    return OK + headers + b"Content-Length: %d\r\n\r\n" % len(content) + content


def outputs(*tensors: dict[str, Any]) -> bytes:
    values = {"name": "p", "datatype": "FP32", "shape": [1, 3], "data": [0.1, 0.2, 0.7]}
    return with_body(json.dumps({"outputs": [values | tensor for tensor in tensors]}).encode())


NO_NUMBERS = (
    "What {url}/v2/models/m/infer answers is not of the Open Inference Protocol: output 'p' holds other things than "
    "numbers.\n"
)
NEGATIVE = (
    "What {url}/v2/models/m/infer answers is not of the Open Inference Protocol: outputs.0.shape.0: "
    "Input should be greater than or equal to 0.\n"
)
PACKED = (
    "What {url}/v2/models/m/infer answers is not of the Open Inference Protocol: the body is packed, and nobody asked "
    "for that.\n"
)


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (outputs({"data": [10**400, 1, 2]}), NO_NUMBERS + PROTOCOL),
        (outputs({"data": ["0.1", "0.2", "0.7"]}), NO_NUMBERS + PROTOCOL),
        (outputs({"data": [None, 0.2, 0.7]}), NO_NUMBERS + PROTOCOL),
        (outputs({"shape": [-2, 3]}), NEGATIVE + PROTOCOL),
        (
            outputs({}, {"data": [0.7, 0.2, 0.1]}),
            "What {url}/v2/models/m/infer answers is not of the Open Inference Protocol: output 'p' is there twice.\n"
            + PROTOCOL,
        ),
        (
            with_body(gzip.compress(b"0" * (1 << 20)), b"Content-Encoding: gzip\r\n"),
            PACKED + PROTOCOL,
        ),
        (
            b"HTTP/1.1 302 Found\r\nLocation: http://[\r\nContent-Length: 0\r\n\r\n",
            "{url}/v2/models/m/infer answers with status 302: nothing.\nThe log of the server says more.",
        ),
        (
            OK + b"Content-Length: 999\r\n\r\n{}",
            "{url}/v2/models/m/infer cannot be asked: IncompleteRead(2 bytes read, 997 more expected).\n"
            "Check that the server runs, and its host and port.",
        ),
    ],
    ids=["beyond floats", "texts", "null", "negative shape", "twice", "packed", "moved to nowhere", "half"],
)
def test_an_answer_that_is_wrong_is_refused_in_words(answer: bytes, told: str):
    with raw_server(answer) as url, open_client(url, "m", timeout_s=10) as client:
        with pytest.raises(EndpointError) as caught:
            client.infer("image", "BYTES", b"photo", [WantedOutput(name="p")])
    assert caught.value.message == told.format(url=url)


def test_a_body_that_drips_without_end_is_given_up_after_the_time_for_an_answer():
    with raw_server(outputs({}), pause_s=0.05) as url, open_client(url, "m", timeout_s=0.5) as client:
        with pytest.raises(EndpointError) as caught:
            client.infer("image", "BYTES", b"photo", [WantedOutput(name="p")])
    assert caught.value.message == (
        f"{url}/v2/models/m/infer did not answer within 0.5 s.\n"
        "The server may be loading the model, or hang: try again, or look at its log."
    )


def test_class_numbers_of_thousands_of_digits_are_no_class_names():
    about = {"name": "m", "inputs": [{"name": "image", "datatype": "BYTES", "shape": [-1]}]}
    about |= {"outputs": [{"name": "p", "datatype": "FP32", "shape": [-1, 2]}]}
    texts = ["0.5:" + "9" * 5000 + ":cat", "0.5:1:dog"]
    answers = [
        with_body(b'{"extensions": ["binary_tensor_data"]}'),
        with_body(json.dumps(about).encode()),
        outputs({"datatype": "BYTES", "shape": [1, 2], "data": texts}),
    ]
    with raw_server(*answers, content=b"IEND\xaeB`\x82") as url, open_client(url, "m", timeout_s=10) as client:
        with pytest.raises(UsageError) as caught:
            open_endpoint(client, None)
    assert caught.value.message == (
        f"{url}/v2/models/m does not say what its classes are called.\n"
        "Name them in the order of its outputs: --class-names FILE, one a line."
    )


@pytest.mark.parametrize(
    ("url", "model", "token", "told"),
    [
        (
            "http://[",
            "m",
            "",
            "--endpoint takes the address of a server such as http://localhost:8000, got 'http://['.",
        ),
        (
            "http://me:secret@localhost",
            "m",
            "",
            "--endpoint takes an address without a name and a password: they would stand in reports, and are not "
            "sent.\nGive a token as SACCADE_ENDPOINT_TOKEN.",
        ),
        ("http://localhost", "\udcff", "", "--model is not valid text: '\\udcff'."),
        *[
            (
                "http://localhost",
                "m",
                token,
                "SACCADE_ENDPOINT_TOKEN has characters that no header can hold.\nIt is one line of plain text.",
            )
            for token in ("two\nlines", "20 \u20ac")
        ],
    ],
)
def test_an_address_a_model_and_a_token_that_cannot_be_sent_are_refused(url: str, model: str, token: str, told: str):
    with pytest.raises(UsageError) as caught, open_client(url, model, token):
        pass
    assert caught.value.message == told
