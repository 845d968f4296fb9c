"""The same stored result gives the same bytes, wherever and however often it is made."""

import hashlib
from dataclasses import replace

import pytest

from darnet_trt.bundle.reading import open_bundle
from darnet_trt.runtime.delivery.objects.make import make_objects
from darnet_trt.runtime.delivery.source import source_of
from darnet_trt.runtime.prediction.predict import predict
from darnet_trt.scan import find_studies
from darnet_trt.scan.loading.load import load_study
from tests.runtime.delivery.examined.studies import phantom
from tests.tiny_bundle import write_bundle

KINDS = ("sr", "pm", "sc")


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    """A result, its evidence, its source, and the network."""
    folder = tmp_path_factory.mktemp("scans")
    phantom(folder / "scan")
    bundle = open_bundle(write_bundle(folder / "bundle"))
    (result,) = predict(bundle, folder / "scan", evidence=True)
    return result, source(bundle, folder / "scan"), bundle.manifest


def source(bundle, folder):
    (study,) = find_studies(folder)
    spec = bundle.manifest.preprocessing
    choice, loaded = load_study(study, spec)
    low, high = loaded.sampled.covered
    return source_of(choice.series, spec, (low, high + 1))


@pytest.fixture(scope="module")
def first(parts):
    return made(*parts)


def made(result, source, manifest, kinds=KINDS):
    objects = make_objects(result, result.evidence, source, kinds, manifest.model, {})
    return {one.kind: one for one in objects}


def digests(objects):
    return {kind: hashlib.sha256(one.content).hexdigest() for kind, one in objects.items()}


def test_where_the_scan_was_moved_and_its_files_are_named_in_another_order(parts, first, tmp_path):
    result, _, manifest = parts
    moved = phantom(tmp_path / "elsewhere" / "other name")
    for number, file in enumerate(sorted(moved.iterdir(), reverse=True)):
        file.rename(moved / f"{number}")
    bundle = open_bundle(write_bundle(tmp_path / "bundle"))
    again = source(bundle, moved)
    here = result.model_copy(update={"scan": "elsewhere/other name"})
    assert digests(made(here, again, manifest)) == digests(first)


@pytest.mark.parametrize(
    "change",
    [
        {"bundle_sha256": "f" * 64},
        {"artifact": "onnxruntime-fp32"},
        {"precision": "fp16"},
        {"toolkit": "9.9.9"},
    ],
)
def test_another_engine_makes_another_object(parts, first, change):
    result, its_source, manifest = parts
    check_others(first, made(result.model_copy(update=change), its_source, manifest, ["pm", "sc"]))


def test_another_set_of_slices_makes_another_object(parts, first):
    result, its_source, manifest = parts
    fewer = replace(its_source, instances=its_source.instances[:-1], slices=its_source.slices[:-1])
    check_others(first, made(result, fewer, manifest))


def check_others(first, others):
    for kind, other in others.items():
        assert other.sop_uid != first[kind].sop_uid
        assert other.series_uid != first[kind].series_uid
