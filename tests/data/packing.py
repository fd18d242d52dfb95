# SPDX-License-Identifier: Apache-2.0
"""Small files in the formats in which data sets are published."""

import io
import tarfile
import wave


def tar_gz(files, folder=""):
    """A compressed archive of `files`, contents by name, in a folder of its own."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as file:
        for name, content in files.items():
            member = tarfile.TarInfo(f"{folder}{name}")
            member.size = len(content)
            file.addfile(member, io.BytesIO(content))
    return packed.getvalue()


def wav(samples, channels=1, width=2, rate=8000):
    """A recording."""
    stream = io.BytesIO()
    with wave.open(stream, "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(width)
        file.setframerate(rate)
        file.writeframes(samples.tobytes())
    return stream.getvalue()
