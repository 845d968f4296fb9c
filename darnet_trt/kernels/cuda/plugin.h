// What `libdarnet_attention.so` adds to TensorRT's own entry points, getCreators and
// setLoggerFinder, for a host that drives the plugin.
#pragma once

#include "attention.h"

#ifdef __cplusplus
extern "C" {
#endif

// The last line the plugin refused something with, on this thread; "" before the first. The same
// line goes to stderr after `darnet-trt plugin: ` and to the context's error recorder.
DARNET_EXPORT const char* darnet_plugin_last_message(void);

// TensorRT hands out device pointers, and the CPU build's kernels read the host's memory: there
// enqueue refuses until the host says that its pointers are the host's. The CUDA build ignores it.
DARNET_EXPORT void darnet_plugin_takes_host_pointers(int takes);

#ifdef __cplusplus
}
#endif
