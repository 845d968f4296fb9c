"""Describe a TensorRT plan in a bundle's manifest."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Part(BaseModel):
    """A part of the manifest: unknown fields, NaN and infinity are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class PluginLibrary(Part):
    """The library of the fused attention, which a plan with its layers needs to run.

    Attributes:
        source: Key of the sources; a library with another key may compute something else.
        target: What it was compiled for: "cpu", or "cuda" and the architectures. To run the plan,
            a library for "cuda" is needed.
        cuda: Version of the CUDA that compiled it, 13000 for 13.0; 0 for the CPU, and in older
            bundles.
        sha256: Hash of the library that the plan was built with.
        embedded: The plan contains the library. If not, a CUDA build with the same `source` must
            be loaded before the plan.
    """

    source: str
    target: str
    cuda: int = 0
    sha256: str
    embedded: bool


class Work(Part):
    """The work of one run of a plan at its smallest batch, from the builder's table of layers.

    Attributes:
        launches: Kernels launched, with each of those of a plugin layer.
        activations: Bytes of the inputs that all kernels read and of the outputs they write.
        weights: Bytes of the constants that they read.
        read_again: Bytes of x that the plugin reads a second time; the table has them once.
    """

    launches: int
    activations: int
    weights: int
    read_again: int


class Plan(Part):
    """Properties of a TensorRT plan.

    Attributes:
        kernels: Number of kernels by kind ("convolution", "plugin", "generated", "reformat", …)
            and type of the first input, from the builder's table, all profiles together. Empty if
            the builder printed no table.
        work: What a run costs; None in older bundles, or if the builder printed no table.
        plugin: The library it needs; None: it needs none.
        profiles: Smallest, preferred and largest batch of each optimization profile, in the plan's
            order; empty: the batch is the artifact's.
        version_compatible: Later versions of TensorRT run it too, if the runtime allows host code.
        hardware_compatible: Every GPU of the target's compute capability runs it.
    """

    kernels: dict[str, dict[str, int]]
    work: Work | None = None
    plugin: PluginLibrary | None = None
    profiles: tuple[tuple[int, int, int], ...] = ()
    version_compatible: bool = False
    hardware_compatible: bool = False
