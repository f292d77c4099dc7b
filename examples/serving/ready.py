"""Whether the server in this container is ready: status 0 or 1. It sends the token that the server has."""

import os
import sys
import urllib.error
import urllib.request

PORT = os.environ.get("PORT", "8000")
request = urllib.request.Request(
    f"http://127.0.0.1:{PORT}/readyz", headers={"Authorization": f"Bearer {os.environ.get('SACCADE_TOKEN', '')}"}
)
try:
    urllib.request.urlopen(request, timeout=2)
except (OSError, urllib.error.URLError) as error:
    sys.exit(f"not ready: {error}")
