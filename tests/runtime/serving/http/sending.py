"""Bodies of requests."""

import io
import zipfile


def zipped(members):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return stream.getvalue()


def of(files):
    return zipped({f"../{file.name}": file.read_bytes() for file in files} | {"a.txt": "text"})


def related(*files, boundary="bound", kind="application/dicom"):
    body = b"".join(
        f"--{boundary}\r\nContent-Type: {kind}\r\n\r\n".encode() + file + b"\r\n" for file in files
    )
    content = body + f"--{boundary}--\r\n".encode()
    media = f'multipart/related; type="application/dicom"; boundary="{boundary}"'
    return {"content": content, "headers": {"Content-Type": media}}
