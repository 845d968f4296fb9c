// The fused attention as TensorRT V3 plugins, on top of the C interface in attention.h.
//
// Three plugins of namespace `darnet`, version 1: FusedChannelAttention, FusedDepthAttention and
// FusedDualAttention. Inputs: x, the residual or none, then per gate squeeze.weight, squeeze.bias,
// excite.weight, excite.bias; x, residual and the output y are N D H W C. Without the residual y is
// x · gates, without ReLU. Fields: x_scale, residual_scale, y_scale, each for an int8 tensor.
//
// Nothing here throws or needs a symbol of TensorRT's libraries: one binary serves TensorRT 10, 11
// and RTX. A plugin that was attached to a context allocates nothing in enqueue. TensorRT's ILogger is not called, its order of functions differs
// between them; IErrorRecorder's and IPluginResourceContext's do not.

#include "plugin.h"

#include <atomic>
#include <cmath>
#include <cstring>
#include <new>

#include "plugin_problem.h"

namespace {

using namespace darnet;
using namespace nvinfer1;

constexpr const char* kVersion = "1";
constexpr const char* kNamespace = "darnet";
constexpr Attention kAttentions[] = {{"FusedChannelAttention", true, false},
    {"FusedDepthAttention", false, true}, {"FusedDualAttention", true, true}};

constexpr int kFields = 3;
constexpr const char* kFieldNames[kFields] = {"x_scale", "residual_scale", "y_scale"};
constexpr float Scales::* kFieldValues[kFields] = {&Scales::x, &Scales::residual, &Scales::y};

thread_local char last_message[Message::kSize + 64] = "";
std::atomic<bool> takes_host_pointers{false};

void say(const char* plugin, const Message& why) noexcept {
    snprintf(last_message, sizeof last_message, "%s: %s", plugin, why.text);
    fprintf(stderr, "darnet-trt plugin: %s\n", last_message);
}

// As many whole characters as a recorder takes.
void record(IErrorRecorder* recorder) noexcept {
    if (recorder == nullptr) return;
    char text[IErrorRecorder::kMAX_DESC_LENGTH + 1];
    size_t length = strnlen(last_message, sizeof text);
    if (length == sizeof text) {
        --length;
        while (length > 0 && (last_message[length] & 0xC0) == 0x80) --length;
    }
    memcpy(text, last_message, length);
    text[length] = '\0';
    recorder->reportError(ErrorCode::kINVALID_ARGUMENT, text);
}

// The kernels' counters, which are zero between two launches. They are not in the workspace, whose
// content TensorRT does not keep: to zero them there would be one more launch an enqueue. Each
// attached plugin has its own. Two enqueues of one context must not run at once, as they also share
// the workspace; so those of one plugin use the counters one after the other, also where a CUDA graph
// replays them. A launch that fails on the GPU ends the CUDA context, and its memory with it.
class Counters {
public:
    Counters() noexcept = default;
    Counters(const Counters&) noexcept {}  // a copy has none yet
    Counters& operator=(const Counters&) = delete;
    ~Counters() { darnet_attention_delete_counters(memory_); }

    bool make(Message& why) noexcept {
        if (memory_ == nullptr)
            memory_ = darnet_attention_new_counters(why.text, Message::kSize);
        return memory_ != nullptr;
    }
    void* memory() const noexcept { return memory_; }

private:
    void* memory_ = nullptr;
};

class Plugin final : public IPluginV3,
                     public IPluginV3OneCore,
                     public IPluginV3OneBuild,
                     public IPluginV3OneRuntime {
public:
    Plugin(const Attention& attention, const Scales& scales) noexcept
        : attention_(&attention), scales_(scales) {}

    // ---- IPluginV3

    IPluginCapability* getCapabilityInterface(PluginCapabilityType type) noexcept override {
        switch (type) {
            case PluginCapabilityType::kCORE: return static_cast<IPluginV3OneCore*>(this);
            case PluginCapabilityType::kBUILD: return static_cast<IPluginV3OneBuild*>(this);
            case PluginCapabilityType::kRUNTIME: return static_cast<IPluginV3OneRuntime*>(this);
        }
        return nullptr;
    }

    IPluginV3* clone() noexcept override { return new (std::nothrow) Plugin(*this); }

    // ---- IPluginV3OneCore

    const char* getPluginName() const noexcept override { return attention_->name; }
    const char* getPluginVersion() const noexcept override { return kVersion; }
    const char* getPluginNamespace() const noexcept override { return kNamespace; }

    // ---- IPluginV3OneBuild

    int32_t getNbOutputs() const noexcept override { return 1; }

    int32_t getOutputDataTypes(DataType* outputs, int32_t output_count, const DataType* inputs,
        int32_t input_count) const noexcept override {
        Message why;
        const auto type_of = [inputs](int i) { return inputs[i]; };
        if (!check_count(*attention_, input_count, output_count, why)
            || !check_types(*attention_, scales_, input_count, type_of, why))
            return refuse(why);
        outputs[0] = output_type(scales_, inputs[1 + has_residual(*attention_, input_count)]);
        return 0;
    }

    int32_t getOutputShapes(const DimsExprs* inputs, int32_t input_count, const DimsExprs*, int32_t,
        DimsExprs* outputs, int32_t output_count, IExprBuilder&) noexcept override {
        Message why;
        const auto rank_of = [inputs](int i) { return inputs[i].nbDims; };
        if (!check_count(*attention_, input_count, output_count, why)
            || !check_ranks(*attention_, input_count, rank_of, why))
            return refuse(why);
        outputs[0] = inputs[0];
        return 0;
    }

    bool supportsFormatCombination(int32_t index, const DynamicPluginTensorDesc* tensors,
        int32_t input_count, int32_t output_count) noexcept override {
        Message why;
        if (!check_count(*attention_, input_count, output_count, why)) return false;
        if (tensors[index].desc.format != TensorFormat::kLINEAR) return false;
        const int first = 1 + has_residual(*attention_, input_count);
        const DataType type = tensors[index].desc.type;
        if (scale_of(index, first, input_count) > 0) return type == DataType::kINT8;
        if (!is_float(type)) return false;
        // One float type for all: that of the first tensor before this one that has one.
        for (int i = 0; i < index; ++i)
            if (scale_of(i, first, input_count) == 0) return type == tensors[i].desc.type;
        return true;
    }

    // A tensor's length may vary between min and max; the gate parameters' do not.
    int32_t configurePlugin(const DynamicPluginTensorDesc* in, int32_t input_count,
        const DynamicPluginTensorDesc* out, int32_t output_count) noexcept override {
        Message why;
        if (!check_count(*attention_, input_count, output_count, why)) return refuse(why);
        constexpr Dims DynamicPluginTensorDesc::* bounds[] = {&DynamicPluginTensorDesc::min,
            &DynamicPluginTensorDesc::opt, &DynamicPluginTensorDesc::max};
        for (const auto bound : bounds) {
            DarnetAttention problem;
            if (!describe_at(bound, in, input_count, out[0], problem, why)) return refuse(why);
        }
        return 0;
    }

    size_t getWorkspaceSize(const DynamicPluginTensorDesc* in, int32_t input_count,
        const DynamicPluginTensorDesc* out, int32_t output_count) const noexcept override {
        Message why;
        DarnetAttention problem;
        if (!check_count(*attention_, input_count, output_count, why)
            || !describe_at(&DynamicPluginTensorDesc::max, in, input_count, out[0], problem, why)) {
            refuse(why);
            return 0;
        }
        // It grows with n, h and w; a deeper volume may need less, where it is cut otherwise.
        const int64_t shallowest = attention_->depth ? problem.d : in[0].min.d[1];
        size_t bytes = 0;
        for (; problem.d > 0 && problem.d >= shallowest; --problem.d) {
            const size_t needed = darnet_attention_workspace(&problem);
            if (needed > bytes) bytes = needed;
        }
        return bytes;
    }

    // ---- IPluginV3OneRuntime

    int32_t onShapeChange(const PluginTensorDesc* in, int32_t input_count,
        const PluginTensorDesc* out, int32_t output_count) noexcept override {
        Message why;
        DarnetAttention problem;
        input_count_ = 0;
        if (!check_count(*attention_, input_count, output_count, why)
            || !describe(*attention_, scales_, in, input_count, out[0], problem, why))
            return refuse(why);
        input_count_ = input_count;
        return 0;
    }

    int32_t enqueue(const PluginTensorDesc* input_desc, const PluginTensorDesc* output_desc,
        const void* const* inputs, void* const* outputs, void* workspace,
        cudaStream_t stream) noexcept override {
        Message why;
        DarnetAttention problem;
        if (!runs_here(why) || !was_prepared(why)
            || !describe(*attention_, scales_, input_desc, input_count_, output_desc[0], problem,
                why)
            || !counters_.make(why))
            return refuse(why);
        DarnetTensors tensors{};
        tensors.x = inputs[0];
        tensors.residual = problem.has_residual ? inputs[1] : nullptr;
        const void* const* parameters = inputs + 1 + problem.has_residual;
        if (attention_->channel) {
            tensors.channel = {parameters[0], parameters[1], parameters[2], parameters[3]};
            parameters += kGateParameters;
        }
        if (attention_->depth)
            tensors.depth = {parameters[0], parameters[1], parameters[2], parameters[3]};
        tensors.y = outputs[0];
        tensors.workspace = workspace;
        // TensorRT does not say how much it gave; getWorkspaceSize covers every shape allowed.
        tensors.workspace_bytes = darnet_attention_workspace(&problem);
        tensors.counters = counters_.memory();
        if (darnet_attention_launch(&problem, &tensors, stream, why.text, Message::kSize) != 0)
            return refuse(why);
        return 0;
    }

    IPluginV3* attachToContext(IPluginResourceContext* context) noexcept override {
        Message why;
        Plugin* const attached = new (std::nothrow) Plugin(*this);
        if (attached == nullptr) return nullptr;
        attached->context_ = context;
        if (attached->counters_.make(why)) return attached;
        attached->refuse(why);
        delete attached;
        return nullptr;
    }

    const PluginFieldCollection* getFieldsToSerialize() noexcept override {
        collection_ = {0, fields_};
        for (int i = 0; i < kFields; ++i)
            if (scales_.*kFieldValues[i] > 0)
                fields_[collection_.nbFields++] = PluginField(
                    kFieldNames[i], &(scales_.*kFieldValues[i]), PluginFieldType::kFLOAT32, 1);
        return &collection_;
    }

private:
    int32_t refuse(const Message& why) const noexcept {
        say(attention_->name, why);
        if (context_ != nullptr) record(context_->getErrorRecorder());
        return 1;
    }

    // Of input `index`, or of y, which comes after the inputs.
    float scale_of(int index, int first_parameter, int input_count) const noexcept {
        if (index == 0) return scales_.x;
        if (index == input_count) return scales_.y;
        return index < first_parameter ? scales_.residual : 0;
    }

    bool describe_at(Dims DynamicPluginTensorDesc::* bound, const DynamicPluginTensorDesc* in,
        int32_t input_count, const DynamicPluginTensorDesc& out, DarnetAttention& problem,
        Message& why) const noexcept {
        PluginTensorDesc tensors[kMaxInputs];
        for (int i = 0; i < input_count; ++i) {
            tensors[i] = in[i].desc;
            tensors[i].dims = in[i].*bound;
        }
        PluginTensorDesc y = out.desc;
        y.dims = out.*bound;
        return describe(*attention_, scales_, tensors, input_count, y, problem, why);
    }

    bool was_prepared(Message& why) const noexcept {
        return input_count_ > 0 || why.refuse("enqueue needs shapes that onShapeChange took");
    }

    static bool runs_here(Message& why) noexcept {
        return takes_host_pointers || strcmp(darnet_attention_target(), "cpu") != 0
            || why.refuse("this library was built for the CPU, which serves to build plans; to run "
                          "them load the one that darnet-trt plugin build makes with nvcc");
    }

    const Attention* attention_;
    Scales scales_;
    int32_t input_count_ = 0;  // as onShapeChange last took them
    IPluginResourceContext* context_ = nullptr;
    Counters counters_;
    PluginField fields_[kFields];  // handed out by getFieldsToSerialize, set by each call
    PluginFieldCollection collection_;
};

class Creator final : public IPluginCreatorV3One {
public:
    explicit Creator(const Attention& attention) noexcept : attention_(&attention) {
        for (int i = 0; i < kFields; ++i)
            fields_[i] = PluginField(kFieldNames[i], nullptr, PluginFieldType::kFLOAT32, 1);
        collection_ = {kFields, fields_};
    }

    IPluginV3* createPlugin(
        const char*, const PluginFieldCollection* fields, TensorRTPhase) noexcept override {
        Message why;
        Scales scales{};
        for (int i = 0; fields != nullptr && i < fields->nbFields; ++i)
            if (!take(fields->fields[i], scales, why)) {
                say(attention_->name, why);
                return nullptr;
            }
        return new (std::nothrow) Plugin(*attention_, scales);
    }

    const PluginFieldCollection* getFieldNames() noexcept override { return &collection_; }
    const char* getPluginName() const noexcept override { return attention_->name; }
    const char* getPluginVersion() const noexcept override { return kVersion; }
    const char* getPluginNamespace() const noexcept override { return kNamespace; }

private:
    static bool take(const PluginField& field, Scales& scales, Message& why) noexcept {
        const char* const name = field.name == nullptr ? "" : field.name;
        for (int i = 0; i < kFields; ++i) {
            if (strcmp(name, kFieldNames[i]) != 0) continue;
            if (field.type != PluginFieldType::kFLOAT32 || field.length != 1
                || field.data == nullptr)
                return why.refuse("the field %s must be one float32; it has type %d and length %d",
                    name, static_cast<int>(field.type), field.length);
            float value;
            memcpy(&value, field.data, sizeof value);
            if (!(std::isfinite(value) && value > 0))
                return why.refuse("%s must be above 0; it is %g", name, static_cast<double>(value));
            scales.*kFieldValues[i] = value;
            return true;
        }
        return why.refuse("the fields are x_scale, residual_scale and y_scale; found '%s'", name);
    }

    const Attention* attention_;
    PluginField fields_[kFields];
    PluginFieldCollection collection_;
};

}  // namespace

const char* darnet_plugin_last_message(void) { return last_message; }

void darnet_plugin_takes_host_pointers(int takes) { takes_host_pointers = takes != 0; }

// What TensorRT's registry looks for in a library. The logger finder is not used, see above.
extern "C" DARNET_EXPORT IPluginCreatorInterface* const* getCreators(int32_t& count) {
    static Creator creators[] = {
        Creator(kAttentions[0]), Creator(kAttentions[1]), Creator(kAttentions[2])};
    static IPluginCreatorInterface* const list[] = {&creators[0], &creators[1], &creators[2]};
    count = sizeof list / sizeof *list;
    return list;
}

extern "C" DARNET_EXPORT void setLoggerFinder(void*) {}
