// Takes the plugin through its whole life as TensorRT does, with no TensorRT:
// creator → build-phase plugin → clone → types, shapes, formats → configure → workspace → serialize
// → runtime-phase plugin → two contexts → shapes → enqueue, from a thread each.
//
//   plugin_host LIBRARY CASE...
//
// A case is a folder with `case.txt` and the inputs as raw files; the result is y.bin in it and one
// line on stdout: `CASE ok WORKSPACE_BYTES` or `CASE refused at STAGE: MESSAGE`. Lines of case.txt:
//
//   plugin NAME                     which creator
//   field NAME VALUE                float32 field
//   int_field NAME VALUE            int32 field
//   raw_field NAME TYPE LENGTH      a field of another kind, for refusals
//   input NAME TYPE LENGTH...       data in NAME.bin; TYPE as numbered by nvinfer1::DataType
//   output TYPE LENGTH...
//   batch MIN MAX                   the profile's range; else the shape's own
//   most_rows MAX                   the profile's range of h, of N D H W C, from the shape's own
//   channels_first DHWC|DHWC8       x, residual and y are N C D H W in this format, in memory as ever
//   build_phase no                  begins with the runtime phase
//   at_enqueue NAME LENGTH...       another shape than onShapeChange was told
//   shift NAME BYTES                misaligned pointer; NAME may be y or workspace
//   no NAME                         null pointer; NAME may be y or workspace
//   shapes no                       enqueue without onShapeChange
//   host_pointers no                as TensorRT, which does not say so
//
// Compiled by g++ it uses host memory, with -DDARNET_CUDA device memory, streams and a CUDA graph.

#include <dlfcn.h>

#include <memory>
#include <stdexcept>
#include <thread>

#include "plugin.h"
#include "plugin_host_case.h"

namespace {

struct Refused : std::runtime_error {
    using std::runtime_error::runtime_error;
};

// ---- what TensorRT would hand in -----------------------------------------------------------

class Recorder final : public IErrorRecorder {
public:
    std::string last;

    int32_t getNbErrors() const noexcept override { return !last.empty(); }
    ErrorCode getErrorCode(int32_t) const noexcept override { return ErrorCode::kINVALID_ARGUMENT; }
    const char* getErrorDesc(int32_t) const noexcept override { return last.c_str(); }
    bool hasOverflowed() const noexcept override { return false; }
    void clear() noexcept override { last.clear(); }
    bool reportError(ErrorCode code, const char* description) noexcept override {
        expect(code == ErrorCode::kINVALID_ARGUMENT, "the code of an invalid argument");
        expect(std::strlen(description) <= kMAX_DESC_LENGTH, "a description that fits");
        last = description;
        return true;
    }
    int32_t incRefCount() noexcept override { return 1; }
    int32_t decRefCount() noexcept override { return 0; }
};

class Context final : public IPluginResourceContext {
public:
    explicit Context(Recorder* recorder) : recorder_(recorder) {}
    IGpuAllocator* getGpuAllocator() const noexcept override { return nullptr; }
    IErrorRecorder* getErrorRecorder() const noexcept override { return recorder_; }

private:
    Recorder* recorder_;
};

struct Library {
    using Creators = IPluginCreatorInterface* const* (*)(int32_t&);

    explicit Library(const char* path) : handle(dlopen(path, RTLD_NOW | RTLD_LOCAL)) {
        if (handle == nullptr) die(dlerror());
        get<void (*)(void*)>("setLoggerFinder")(nullptr);
        last_message = get<decltype(last_message)>("darnet_plugin_last_message");
        takes_host_pointers
            = get<decltype(takes_host_pointers)>("darnet_plugin_takes_host_pointers");
        int32_t count = 0;
        IPluginCreatorInterface* const* const list = get<Creators>("getCreators")(count);
        expect(count == 3, "3 creators");
        for (int i = 0; i < count; ++i) {
            expect(std::string(list[i]->getInterfaceInfo().kind) == "PLUGIN CREATOR_V3ONE",
                "a creator of V3 plugins");
            expect(list[i]->getAPILanguage() == APILanguage::kCPP, "C++");
            auto* const creator = static_cast<IPluginCreatorV3One*>(list[i]);
            creators[creator->getPluginName()] = creator;
        }
    }

    template <typename Function>
    Function get(const char* name) {
        void* const symbol = dlsym(handle, name);
        if (symbol == nullptr) die(std::string("not exported: ") + name);
        return reinterpret_cast<Function>(symbol);
    }

    void* handle;
    const char* (*last_message)();
    void (*takes_host_pointers)(int);
    std::map<std::string, IPluginCreatorV3One*> creators;
};

// ---- the stages ----------------------------------------------------------------------------

using Owned = std::unique_ptr<IPluginV3>;

template <typename Capability>
Capability& capability(IPluginV3& plugin, PluginCapabilityType type, const char* kind) {
    IPluginCapability* const found = plugin.getCapabilityInterface(type);
    expect(found != nullptr && std::string(found->getInterfaceInfo().kind) == kind, kind);
    return *static_cast<Capability*>(found);
}

class Life {
public:
    Life(Library& library, const Case& c) : library_(library), case_(c) {
        const auto found = library.creators.find(c.plugin);
        if (found == library.creators.end()) die("no plugin " + c.plugin);
        creator_ = found->second;
        expect(std::string(creator_->getPluginVersion()) == "1", "version 1");
        expect(std::string(creator_->getPluginNamespace()) == "darnet", "the namespace darnet");
        expect(creator_->getFieldNames()->nbFields == 4, "4 fields");
        for (const Tensor& input : c.inputs) descs_.push_back(desc(input));
        descs_.push_back(desc(c.output));
    }

    size_t live() {
        size_t workspace_bytes = 0;
        for (const Field& field : case_.fields)
            fields_.emplace_back(field.name.c_str(), field.data(), field.type, field.length);
        if (case_.skipped.count("build_phase") == 0) workspace_bytes = build();
        Owned plugin = create(TensorRTPhase::kRUNTIME);
        Recorder recorder;
        Context first(&recorder), second(nullptr);
        Owned attached[2] = {attach(*plugin, first), attach(*plugin, second)};
        plugin.reset();
        std::string refusals[2];
        std::vector<char> results[2];
        std::thread threads[2];
        for (int i = 0; i < 2; ++i)
            threads[i] = std::thread([&, i] {
                try {
                    results[i] = execute(*attached[i], workspace_bytes);
                } catch (const Refused& why) {
                    refusals[i] = why.what();
                }
            });
        for (std::thread& thread : threads) thread.join();
        const auto words = [](const std::string& line) { return line.substr(0, line.find("0x")); };
        expect(words(refusals[0]) == words(refusals[1]) && results[0] == results[1],
            "both contexts to agree");
        if (!refusals[0].empty()) {
            const std::string said = refusals[0].substr(refusals[0].find(": ") + 2);
            const std::string& recorded = recorder.last;
            expect(!recorded.empty() && said.compare(0, recorded.size(), recorded) == 0,
                "the context's error recorder to have the message");
            throw Refused(refusals[0]);
        }
        std::ofstream(case_.folder + "/y.bin", std::ios::binary)
            .write(results[0].data(), static_cast<std::streamsize>(results[0].size()));
        return workspace_bytes;
    }

private:
    [[noreturn]] void refused(const char* stage) {
        throw Refused(std::string(stage) + ": " + library_.last_message());
    }

    PluginTensorDesc desc(const Tensor& tensor) const {
        const bool is_map = tensor.dims.nbDims == 5;
        return {tensor.dims, tensor.type, is_map ? case_.map_format : TensorFormat::kLINEAR, 0};
    }

    Owned create(TensorRTPhase phase) {
        const int32_t count = static_cast<int32_t>(fields_.size());
        const PluginFieldCollection collection{count, fields_.data()};
        Owned plugin(creator_->createPlugin("layer", &collection, phase));
        if (plugin == nullptr) refused("createPlugin");
        return plugin;
    }

    // The workspace; the fields are then those that the plugin serialized.
    size_t build() {
        const Owned original = create(TensorRTPhase::kBUILD);
        const Owned plugin(original->clone());
        auto& core = capability<IPluginV3OneCore>(
            *plugin, PluginCapabilityType::kCORE, "PLUGIN_V3ONE_CORE");
        expect(core.getPluginName() == case_.plugin, "the creator's name");
        auto& build = capability<IPluginV3OneBuild>(
            *plugin, PluginCapabilityType::kBUILD, "PLUGIN_V3ONE_BUILD");
        expect(build.getNbOutputs() == 1 && build.getNbTactics() == 0, "1 output, no tactics");
        types_and_shapes(build);
        formats(build);
        const std::vector<DynamicPluginTensorDesc> ranges = profile();
        const auto* const y = &ranges.back();
        const int32_t inputs = static_cast<int32_t>(case_.inputs.size());
        if (build.configurePlugin(ranges.data(), inputs, y, 1) != 0) refused("configurePlugin");
        const size_t workspace_bytes = build.getWorkspaceSize(ranges.data(), inputs, y, 1);
        auto& runtime = capability<IPluginV3OneRuntime>(
            *plugin, PluginCapabilityType::kRUNTIME, "PLUGIN_V3ONE_RUNTIME");
        keep(*runtime.getFieldsToSerialize());
        return workspace_bytes;
    }

    void types_and_shapes(IPluginV3OneBuild& build) {
        std::vector<DataType> types;
        std::vector<DimsExprs> shapes;
        std::vector<char> expressions(case_.inputs.size() * Dims::MAX_DIMS);  // told by address
        for (const Tensor& input : case_.inputs) {
            DimsExprs shape{input.dims.nbDims, {}};
            for (int i = 0; i < shape.nbDims; ++i)
                shape.d[i] = reinterpret_cast<const IDimensionExpr*>(
                    &expressions[types.size() * Dims::MAX_DIMS + static_cast<size_t>(i)]);
            types.push_back(input.type);
            shapes.push_back(shape);
        }
        const int32_t inputs = static_cast<int32_t>(types.size());
        DataType type{};
        if (build.getOutputDataTypes(&type, 1, types.data(), inputs) != 0)
            refused("getOutputDataTypes");
        expect(type == case_.output.type, "the case's output type");
        DimsExprs shape{};
        alignas(16) char builder[16];  // not used by the plugin
        if (build.getOutputShapes(shapes.data(), inputs, nullptr, 0, &shape, 1,
                reinterpret_cast<IExprBuilder&>(builder)) != 0)
            refused("getOutputShapes");
        expect(shape.nbDims == shapes[0].nbDims
                && std::memcmp(shape.d, shapes[0].d, sizeof shape.d) == 0, "y to have x's shape");
    }

    // Every type and format at every place, those before it as they are: one type, or one of the
    // floats for the first tensor that is no int8; of N D H W C and of parameters LINEAR alone, of
    // N C D H W the format of TensorRT's convolutions, DHWC8 where it pads nothing.
    void formats(IPluginV3OneBuild& build) {
        std::vector<DynamicPluginTensorDesc> tensors = profile();
        const int32_t inputs = static_cast<int32_t>(case_.inputs.size());
        const bool channels_first = case_.map_format != TensorFormat::kLINEAR;
        const bool padded = channels_first && tensors[0].desc.dims.d[1] % 8 != 0;
        const int floats = padded ? 1 : 3;
        int free_choices = 0;
        for (int32_t at = 0; at <= inputs; ++at) {
            PluginTensorDesc& tensor = tensors[static_cast<size_t>(at)].desc;
            const PluginTensorDesc actual = tensor;
            const bool of_a_map = channels_first && actual.dims.nbDims == 5;
            int supported = 0;
            for (int type = 0; type <= 11; ++type)
                for (int format = 0; format <= 13; ++format) {
                    tensor.type = static_cast<DataType>(type);
                    tensor.format = static_cast<TensorFormat>(format);
                    if (!build.supportsFormatCombination(at, tensors.data(), inputs, 1)) continue;
                    const TensorFormat wanted = !of_a_map       ? TensorFormat::kLINEAR
                        : tensor.type == DataType::kFLOAT ? TensorFormat::kDHWC
                                                          : TensorFormat::kDHWC8;
                    expect(tensor.format == wanted, "the one format of the layout and type");
                    ++supported;
                }
            tensor = actual;
            if (!build.supportsFormatCombination(at, tensors.data(), inputs, 1))
                refused("supportsFormatCombination");
            expect(supported == 1 || supported == floats, "one type, or the floats to begin with");
            free_choices += at == 0 && supported == floats;
            free_choices += at > 0 && supported == 3;
        }
        expect(free_choices == 1, "one choice of type");
    }

    std::vector<DynamicPluginTensorDesc> profile() const {
        std::vector<DynamicPluginTensorDesc> ranges;
        for (const PluginTensorDesc& desc : descs_) {
            DynamicPluginTensorDesc range{desc, desc.dims, desc.dims, desc.dims};
            const bool has_batch = range.desc.dims.nbDims == 5;
            if (has_batch && case_.most_batch >= 0) {
                range.desc.dims.d[0] = -1;
                range.min.d[0] = case_.least_batch;
                range.max.d[0] = case_.most_batch;
            }
            if (has_batch && case_.most_rows >= 0) {
                range.desc.dims.d[2] = -1;
                range.max.d[2] = case_.most_rows;
            }
            ranges.push_back(range);
        }
        return ranges;
    }

    // As a plan does: copies, of which nothing belongs to the plugin that is gone by then. They are
    // the case's fields and the number of inputs.
    void keep(const PluginFieldCollection& collection) {
        fields_.clear();
        kept_.clear();
        kept_.reserve(static_cast<size_t>(collection.nbFields));
        for (int i = 0; i < collection.nbFields; ++i) {
            const PluginField& field = collection.fields[i];
            expect(field.length == 1, "one value");
            Field copy{field.name, 0, 0, field.type, 1};
            std::memcpy(copy.data(), field.data, 4);
            kept_.push_back(copy);
            fields_.emplace_back(kept_.back().name.c_str(), kept_.back().data(), field.type, 1);
        }
        std::vector<Field> expected = case_.fields;
        const int32_t inputs = static_cast<int32_t>(case_.inputs.size());
        expected.push_back({"input_count", 0, inputs, PluginFieldType::kINT32, 1});
        expect(kept_.size() == expected.size(), "as many serialized fields as were given, and one");
        for (const Field& kept : kept_)
            for (const Field& given : expected)
                expect(given.name != kept.name || std::memcmp(given.data(), kept.data(), 4) == 0,
                    "the same value");
    }

    static Owned attach(IPluginV3& plugin, Context& context) {
        auto& runtime = capability<IPluginV3OneRuntime>(
            plugin, PluginCapabilityType::kRUNTIME, "PLUGIN_V3ONE_RUNTIME");
        Owned attached(runtime.attachToContext(&context));
        expect(attached != nullptr, "a plugin of its own for the context");
        return attached;
    }

    std::vector<char> execute(IPluginV3& plugin, size_t workspace_bytes) {
        const Turn turn;
        auto& runtime = capability<IPluginV3OneRuntime>(
            plugin, PluginCapabilityType::kRUNTIME, "PLUGIN_V3ONE_RUNTIME");
        std::vector<PluginTensorDesc> descs = descs_;
        const int32_t inputs = static_cast<int32_t>(case_.inputs.size());
        if (case_.skipped.count("shapes") == 0
            && runtime.onShapeChange(descs.data(), inputs, &descs.back(), 1) != 0)
            refused("onShapeChange");
        std::vector<std::unique_ptr<Memory>> memory;
        std::vector<const void*> pointers;
        for (const Tensor& input : case_.inputs) {
            memory.push_back(std::make_unique<Memory>(bytes(input)));
            memory.back()->write(contents(case_.folder + "/" + input.name + ".bin", bytes(input)));
            pointers.push_back(place(input.name, memory.back()->data()));
        }
        Memory y(bytes(case_.output)), workspace(workspace_bytes);
        void* const outputs[] = {place("y", y.data())};
        for (size_t i = 0; i < descs.size(); ++i) {
            const bool is_input = i < case_.inputs.size();
            const auto other = case_.at_enqueue.find(is_input ? case_.inputs[i].name : "y");
            if (other != case_.at_enqueue.end()) descs[i].dims = other->second;
        }
        const int32_t code = run(y, [&](cudaStream_t stream) {
            return runtime.enqueue(descs.data(), &descs.back(), pointers.data(), outputs,
                place("workspace", workspace.data()), stream);
        });
        if (code != 0) refused("enqueue");
        return y.read();
    }

    void* place(const std::string& name, void* at) const {
        if (case_.absent.count(name) > 0) return nullptr;
        const auto shift = case_.shifts.find(name);
        return static_cast<char*>(at) + (shift == case_.shifts.end() ? 0 : shift->second);
    }

    Library& library_;
    const Case& case_;
    IPluginCreatorV3One* creator_;
    std::vector<PluginTensorDesc> descs_;  // of the inputs, then of y
    std::vector<Field> kept_;
    std::vector<PluginField> fields_;
};

}  // namespace

int main(int count, char** words) {
    if (count < 3) die("usage: plugin_host LIBRARY CASE...");
    Library library(words[1]);
    for (int i = 2; i < count; ++i) {
        const Case c = read_case(words[i]);
        library.takes_host_pointers(c.skipped.count("host_pointers") == 0);
        try {
            const size_t workspace_bytes = Life(library, c).live();
            std::printf("%s ok %zu\n", words[i], workspace_bytes);
        } catch (const Refused& why) {
            std::printf("%s refused at %s\n", words[i], why.what());
        }
        std::fflush(stdout);
    }
}
