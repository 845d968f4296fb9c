import subprocess
import sys

from tests.tiny_bundle import SIZE

PREDICT = """
import sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "torch":
            raise ModuleNotFoundError("torch is blocked", name="torch")

sys.meta_path.insert(0, Blocker())
from pathlib import Path
import numpy as np
import darnet_trt.runtime
from darnet_trt.runtime.bench import benchmark
from darnet_trt.runtime.prediction.results import overlay
from darnet_trt.runtime.prediction.results import folder
from darnet_trt.bundle.reading import open_bundle
from darnet_trt.runtime.engines.loading import load_engine
from darnet_trt.runtime.prediction.predict import predict

bundle = open_bundle(Path(sys.argv[1]))
for engine in ("openvino-fp32", "onnxruntime-fp32"):
    runner = load_engine(bundle, engine).runner
    runner.infer(np.zeros((1, 1, {size}), np.float32))
print([r.status for r in predict(bundle, sys.argv[2])])
assert "torch" not in sys.modules
print("done")
"""

WATCHED = """
import sys
def watch(event, args):
    if event in ("os.fork", "subprocess.Popen", "os.posix_spawn") or event == "socket.connect":
        print("UNWANTED", event, args)
sys.addaudithook(watch)
from pathlib import Path
from darnet_trt.bundle.reading import open_bundle
from darnet_trt.runtime.engines.loading import load_engine
load_engine(open_bundle(Path(sys.argv[1])))
import time; time.sleep(0.5)
print("done")
"""


def run(program: str, *arguments: object) -> str:
    words = [sys.executable, "-c", program.replace("{size}", ", ".join(map(str, SIZE)))]
    words += map(str, arguments)
    finished = subprocess.run(words, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr
    return finished.stdout


def test_a_scan_is_predicted_where_torch_is_not_installed(tiny, phantom_series):
    assert run(PREDICT, tiny, phantom_series) == "['ok']\ndone\n"


def test_loading_openvino_starts_no_process_and_calls_nobody(tiny):
    assert run(WATCHED, tiny) == "done\n"
