// The part of TensorRT's interface that a V3 plugin implements or is handed.
//
// No package ships TensorRT's headers, so this declares what the plugin needs of them: names,
// values and order as NVIDIA documents them, equal in TensorRT 10.12 to 11.1 and TensorRT-RTX 1.7.
// With DARNET_TENSORRT_HEADERS (the build sets it where TENSORRT_INCLUDE_DIR names them) NVIDIA's
// own are used instead; a test compiles the plugin with both and compares the object code.
//
// The order of virtual functions is the binary interface: nothing may be moved or left out.
#pragma once

#ifdef DARNET_TENSORRT_HEADERS

#include <NvInferRuntime.h>

#else

#include <cstddef>
#include <cstdint>

struct CUstream_st;
using cudaStream_t = CUstream_st*;

namespace nvinfer1 {

using AsciiChar = char;

enum class DataType : int32_t { kFLOAT = 0, kHALF = 1, kINT8 = 2, kBF16 = 7 };
// DHWC and DHWC8: dimensions N C D H W, in memory N D H W C; DHWC8 pads C to a multiple of 8.
enum class TensorFormat : int32_t { kLINEAR = 0, kDHWC8 = 6, kDHWC = 12 };
enum class APILanguage : int32_t { kCPP = 0 };
enum class ErrorCode : int32_t { kINVALID_ARGUMENT = 3 };
enum class TensorRTPhase : int32_t { kBUILD = 0, kRUNTIME = 1 };
enum class PluginCapabilityType : int32_t { kCORE = 0, kBUILD = 1, kRUNTIME = 2 };
enum class PluginFieldType : int32_t { kFLOAT32 = 1, kINT32 = 5, kUNKNOWN = 8 };

// ---- plain data ----------------------------------------------------------------------------

class Dims64 {
public:
    static constexpr int32_t MAX_DIMS{8};
    int32_t nbDims;
    int64_t d[MAX_DIMS];
};
using Dims = Dims64;

struct PluginTensorDesc {
    Dims dims;
    DataType type;
    TensorFormat format;
    float scale;
};

struct DynamicPluginTensorDesc {
    PluginTensorDesc desc;  // -1 for a length that varies
    Dims min, max, opt;
};

class IDimensionExpr;  // only passed on
class IExprBuilder;

class DimsExprs {
public:
    int32_t nbDims;
    const IDimensionExpr* d[Dims::MAX_DIMS];
};

class PluginField {
public:
    const AsciiChar* name;
    const void* data;
    PluginFieldType type;
    int32_t length;

    PluginField(const AsciiChar* name_ = nullptr, const void* data_ = nullptr,
        PluginFieldType type_ = PluginFieldType::kUNKNOWN, int32_t length_ = 0) noexcept
        : name(name_), data(data_), type(type_), length(length_) {}
};

struct PluginFieldCollection {
    int32_t nbFields{};
    const PluginField* fields{};
};

class InterfaceInfo {
public:
    const char* kind;
    int32_t major, minor;
};

// ---- interfaces ----------------------------------------------------------------------------

class IVersionedInterface {
public:
    virtual APILanguage getAPILanguage() const noexcept { return APILanguage::kCPP; }
    virtual InterfaceInfo getInterfaceInfo() const noexcept = 0;
    virtual ~IVersionedInterface() noexcept = default;

protected:
    IVersionedInterface() = default;
    IVersionedInterface(const IVersionedInterface&) = default;
    IVersionedInterface& operator=(const IVersionedInterface&) & = default;
};

namespace v_1_0 {

class IGpuAllocator;  // not used

class IErrorRecorder : public IVersionedInterface {
public:
    static constexpr size_t kMAX_DESC_LENGTH{127U};  // bytes without the terminator

    InterfaceInfo getInterfaceInfo() const noexcept override { return {"IErrorRecorder", 1, 0}; }
    virtual int32_t getNbErrors() const noexcept = 0;
    virtual ErrorCode getErrorCode(int32_t index) const noexcept = 0;
    virtual const char* getErrorDesc(int32_t index) const noexcept = 0;
    virtual bool hasOverflowed() const noexcept = 0;
    virtual void clear() noexcept = 0;
    virtual bool reportError(ErrorCode code, const char* description) noexcept = 0;
    virtual int32_t incRefCount() noexcept = 0;
    virtual int32_t decRefCount() noexcept = 0;
};

}  // namespace v_1_0

using IGpuAllocator = v_1_0::IGpuAllocator;
using IErrorRecorder = v_1_0::IErrorRecorder;

class IPluginResourceContext {
public:
    virtual IGpuAllocator* getGpuAllocator() const noexcept = 0;
    virtual IErrorRecorder* getErrorRecorder() const noexcept = 0;
    virtual ~IPluginResourceContext() noexcept = default;
};

namespace v_1_0 {

class IPluginCapability : public IVersionedInterface {};

class IPluginCreatorInterface : public IVersionedInterface {
protected:
    IPluginCreatorInterface() = default;
};

class IPluginV3 : public IVersionedInterface {
public:
    InterfaceInfo getInterfaceInfo() const noexcept override { return {"PLUGIN", 1, 0}; }
    virtual IPluginCapability* getCapabilityInterface(PluginCapabilityType type) noexcept = 0;
    virtual IPluginV3* clone() noexcept = 0;
};

class IPluginV3OneCore : public IPluginCapability {
public:
    InterfaceInfo getInterfaceInfo() const noexcept override { return {"PLUGIN_V3ONE_CORE", 1, 0}; }
    virtual const AsciiChar* getPluginName() const noexcept = 0;
    virtual const AsciiChar* getPluginVersion() const noexcept = 0;
    virtual const AsciiChar* getPluginNamespace() const noexcept = 0;
};

class IPluginV3OneBuild : public IPluginCapability {
public:
    static constexpr int32_t kDEFAULT_FORMAT_COMBINATION_LIMIT = 100;

    InterfaceInfo getInterfaceInfo() const noexcept override {
        return {"PLUGIN_V3ONE_BUILD", 1, 0};
    }
    virtual int32_t configurePlugin(const DynamicPluginTensorDesc* in, int32_t nbInputs,
        const DynamicPluginTensorDesc* out, int32_t nbOutputs) noexcept = 0;
    virtual int32_t getOutputDataTypes(DataType* outputTypes, int32_t nbOutputs,
        const DataType* inputTypes, int32_t nbInputs) const noexcept = 0;
    virtual int32_t getOutputShapes(const DimsExprs* inputs, int32_t nbInputs,
        const DimsExprs* shapeInputs, int32_t nbShapeInputs, DimsExprs* outputs, int32_t nbOutputs,
        IExprBuilder& exprBuilder) noexcept = 0;
    virtual bool supportsFormatCombination(int32_t pos, const DynamicPluginTensorDesc* inOut,
        int32_t nbInputs, int32_t nbOutputs) noexcept = 0;
    virtual int32_t getNbOutputs() const noexcept = 0;
    virtual size_t getWorkspaceSize(const DynamicPluginTensorDesc*, int32_t,
        const DynamicPluginTensorDesc*, int32_t) const noexcept {
        return 0;
    }
    virtual int32_t getValidTactics(int32_t*, int32_t) noexcept { return 0; }
    virtual int32_t getNbTactics() noexcept { return 0; }
    virtual const char* getTimingCacheID() noexcept { return nullptr; }
    virtual int32_t getFormatCombinationLimit() noexcept {
        return kDEFAULT_FORMAT_COMBINATION_LIMIT;
    }
    virtual const char* getMetadataString() noexcept { return nullptr; }
};

class IPluginV3OneRuntime : public IPluginCapability {
public:
    InterfaceInfo getInterfaceInfo() const noexcept override {
        return {"PLUGIN_V3ONE_RUNTIME", 1, 0};
    }
    virtual int32_t setTactic(int32_t) noexcept { return 0; }
    virtual int32_t onShapeChange(const PluginTensorDesc* in, int32_t nbInputs,
        const PluginTensorDesc* out, int32_t nbOutputs) noexcept = 0;
    virtual int32_t enqueue(const PluginTensorDesc* inputDesc, const PluginTensorDesc* outputDesc,
        const void* const* inputs, void* const* outputs, void* workspace,
        cudaStream_t stream) noexcept = 0;
    virtual IPluginV3* attachToContext(IPluginResourceContext* context) noexcept = 0;
    virtual const PluginFieldCollection* getFieldsToSerialize() noexcept = 0;
};

class IPluginCreatorV3One : public IPluginCreatorInterface {
public:
    InterfaceInfo getInterfaceInfo() const noexcept override {
        return {"PLUGIN CREATOR_V3ONE", 1, 0};
    }
    virtual IPluginV3* createPlugin(const AsciiChar* name, const PluginFieldCollection* fields,
        TensorRTPhase phase) noexcept = 0;
    virtual const PluginFieldCollection* getFieldNames() noexcept = 0;
    virtual const AsciiChar* getPluginName() const noexcept = 0;
    virtual const AsciiChar* getPluginVersion() const noexcept = 0;
    virtual const AsciiChar* getPluginNamespace() const noexcept = 0;
};

}  // namespace v_1_0

using IPluginCapability = v_1_0::IPluginCapability;
using IPluginV3 = v_1_0::IPluginV3;
using IPluginV3OneCore = v_1_0::IPluginV3OneCore;
using IPluginV3OneBuild = v_1_0::IPluginV3OneBuild;
using IPluginV3OneRuntime = v_1_0::IPluginV3OneRuntime;
using IPluginCreatorInterface = v_1_0::IPluginCreatorInterface;
using IPluginCreatorV3One = v_1_0::IPluginCreatorV3One;

}  // namespace nvinfer1

#endif
