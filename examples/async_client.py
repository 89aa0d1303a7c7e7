"""Several recordings at once through a server, with asyncio.

ossicle serve &
python examples/async_client.py localhost:50051 data/sample/luigi.flac another.mp3
"""

import asyncio
import sys

from ossicle.service import AsyncSpeechClient, OssicleError


async def main(address: str, files: list[str]) -> None:
    """Print each file's text, in the order of the files."""
    async with AsyncSpeechClient(address) as speech:
        work = [speech.recognize(file) for file in files]
        results = await asyncio.gather(*work, return_exceptions=True)
        for file, heard in zip(files, results, strict=True):
            if isinstance(heard, OssicleError | OSError):
                print(f"{file}: failed: {heard}")
            elif isinstance(heard, BaseException):
                raise heard
            else:
                print(f"{file}: {heard.text}")


asyncio.run(main(sys.argv[1], sys.argv[2:]))
