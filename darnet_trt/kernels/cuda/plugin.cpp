// The fused attention as TensorRT V3 plugins, on top of the C interface in attention.h.
//
// Three plugins of namespace `darnet`, version 1: FusedChannelAttention, FusedDepthAttention and
// FusedDualAttention. Inputs: x, the residual or none, then per gate squeeze.weight, squeeze.bias,
// excite.weight, excite.bias. Without the residual y is x · gates, without ReLU.
//
// x, residual and the output y are channels-last in memory. Their dimensions are N D H W C in the
// format LINEAR, for TensorRT-RTX, which plans its convolutions so and cancels the transposes
// around. With the field channel_axis = 1 they are N C D H W in the format DHWC (float32) or DHWC8
// (float16, bfloat16), the formats of TensorRT's own 3D convolutions. The depth may equal the
// channels, so the plugin cannot tell the one from the other by the shapes of the gate parameters.
//
// Other fields: x_scale, residual_scale, y_scale, each for an int8 tensor; only for N D H W C, as
// TensorRT's one 3D format for int8, CDHW32, is not channels-last. The plugin serializes the number
// of inputs, too, which enqueue is not told.
//
// Nothing here throws or needs a symbol of TensorRT's libraries: one binary serves TensorRT 10, 11
// and RTX. A plugin that was attached to a context allocates nothing in enqueue. TensorRT's ILogger
// is not called, its order of functions differs between them; IErrorRecorder's and
// IPluginResourceContext's do not.

#include "plugin.h"

#include <atomic>
#include <cstring>
#include <new>

#include "plugin_fields.h"

namespace {

using namespace darnet;
using namespace nvinfer1;

constexpr const char* kVersion = "1";
constexpr const char* kNamespace = "darnet";
constexpr Attention kAttentions[] = {{"FusedChannelAttention", true, false},
    {"FusedDepthAttention", false, true}, {"FusedDualAttention", true, true}};

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
// the workspace; so those of one plugin use the counters one after the other, also where a CUDA
// graph replays them. A launch that fails on the GPU ends the CUDA context, and its memory with it.
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
    Plugin(const Attention& attention, const Fields& fields) noexcept
        : attention_(&attention), fields_(fields) {}

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
            || !check_types(*attention_, fields_, input_count, type_of, why))
            return refuse(why);
        outputs[0] = output_type(fields_, inputs[1 + has_residual(*attention_, input_count)]);
        return 0;
    }

    int32_t getOutputShapes(const DimsExprs* inputs, int32_t input_count, const DimsExprs*, int32_t,
        DimsExprs* outputs, int32_t output_count, IExprBuilder&) noexcept override {
        Message why;
        const auto rank_of = [inputs](int i) { return inputs[i].nbDims; };
        if (!counted(input_count, output_count, why)
            || !check_ranks(*attention_, fields_, input_count, rank_of, why))
            return refuse(why);
        outputs[0] = inputs[0];
        return 0;
    }

    bool supportsFormatCombination(int32_t index, const DynamicPluginTensorDesc* tensors,
        int32_t input_count, int32_t output_count) noexcept override {
        Message why;
        if (!counted(input_count, output_count, why)) return false;
        const int first = 1 + has_residual(*attention_, input_count);
        const DataType type = tensors[index].desc.type;
        const TensorFormat format = tensors[index].desc.format;
        const bool is_parameter = index >= first && index < input_count;
        if (format != (is_parameter ? TensorFormat::kLINEAR : format_of(fields_, type)))
            return false;
        if (!is_parameter
            && !check_padding(format, tensors[0].desc.dims.d[fields_.channel_axis], why)) {
            say(attention_->name, why);  // else TensorRT only reports that no format fits
            return false;
        }
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
        if (!counted(input_count, output_count, why)) return refuse(why);
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
        return darnet_attention_workspace(&problem);
    }

    // ---- IPluginV3OneRuntime

    int32_t onShapeChange(const PluginTensorDesc* in, int32_t input_count,
        const PluginTensorDesc* out, int32_t output_count) noexcept override {
        Message why;
        DarnetAttention problem;
        if (!counted(input_count, output_count, why)
            || !describe(*attention_, fields_, in, input_count, out[0], problem, why))
            return refuse(why);
        return 0;
    }

    int32_t enqueue(const PluginTensorDesc* input_desc, const PluginTensorDesc* output_desc,
        const void* const* inputs, void* const* outputs, void* workspace,
        cudaStream_t stream) noexcept override {
        Message why;
        DarnetAttention problem;
        if (!runs_here(why) || !was_counted(why)
            || !describe(*attention_, fields_, input_desc, fields_.input_count, output_desc[0],
                problem, why)
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
        collection_ = {0, serialized_};
        const auto add = [this](const char* name, const void* value, PluginFieldType type) {
            serialized_[collection_.nbFields++] = PluginField(name, value, type, 1);
        };
        for (const ScaleField& scale : kScales)
            if (fields_.*scale.value > 0)
                add(scale.name, &(fields_.*scale.value), PluginFieldType::kFLOAT32);
        if (fields_.channel_axis != kLastAxis)
            add(kChannelAxis, &fields_.channel_axis, PluginFieldType::kINT32);
        if (fields_.input_count > 0)
            add(kInputCount, &fields_.input_count, PluginFieldType::kINT32);
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
        if (index == 0) return fields_.x_scale;
        if (index == input_count) return fields_.y_scale;
        return index < first_parameter ? fields_.residual_scale : 0;
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
        return describe(*attention_, fields_, tensors, input_count, y, problem, why);
    }

    // Checks the number of inputs, and keeps it for enqueue.
    bool counted(int32_t inputs, int32_t outputs, Message& why) noexcept {
        if (!check_count(*attention_, inputs, outputs, why)) return false;
        fields_.input_count = inputs;
        return true;
    }

    bool was_counted(Message& why) const noexcept {
        return fields_.input_count > 0
            || why.refuse("enqueue needs the number of inputs, from the plan or onShapeChange");
    }

    static bool runs_here(Message& why) noexcept {
        return takes_host_pointers || strcmp(darnet_attention_target(), "cpu") != 0
            || why.refuse("this library was built for the CPU, which serves to build plans; to run "
                          "them load the one that darnet-trt plugin build makes with nvcc");
    }

    const Attention* attention_;
    Fields fields_;
    IPluginResourceContext* context_ = nullptr;
    Counters counters_;
    PluginField serialized_[kSerializedFields];  // set by each call of getFieldsToSerialize
    PluginFieldCollection collection_;
};

class Creator final : public IPluginCreatorV3One {
public:
    explicit Creator(const Attention& attention) noexcept : attention_(&attention) {
        for (const ScaleField& scale : kScales)
            names_[collection_.nbFields++]
                = PluginField(scale.name, nullptr, PluginFieldType::kFLOAT32, 1);
        names_[collection_.nbFields++]
            = PluginField(kChannelAxis, nullptr, PluginFieldType::kINT32, 1);
        collection_.fields = names_;
    }

    IPluginV3* createPlugin(
        const char*, const PluginFieldCollection* collection, TensorRTPhase) noexcept override {
        Message why;
        Fields fields;
        bool fits = true;
        for (int i = 0; fits && collection != nullptr && i < collection->nbFields; ++i)
            fits = take(collection->fields[i], fields, why);
        if (!fits || !agree(*attention_, fields, why)) {
            say(attention_->name, why);
            return nullptr;
        }
        return new (std::nothrow) Plugin(*attention_, fields);
    }

    const PluginFieldCollection* getFieldNames() noexcept override { return &collection_; }
    const char* getPluginName() const noexcept override { return attention_->name; }
    const char* getPluginVersion() const noexcept override { return kVersion; }
    const char* getPluginNamespace() const noexcept override { return kNamespace; }

private:
    const Attention* attention_;
    PluginField names_[kNamedFields];
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
