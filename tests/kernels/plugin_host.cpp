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
//   raw_field NAME TYPE LENGTH      a field of another kind, for refusals
//   input NAME TYPE LENGTH...       data in NAME.bin; TYPE as numbered by nvinfer1::DataType
//   output TYPE LENGTH...
//   batch MIN MAX                   the profile's range; else the shape's own
//   build_phase no                  begins with the runtime phase
//   at_enqueue NAME LENGTH...       another shape than onShapeChange was told
//   shift NAME BYTES                misaligned pointer; NAME may be y or workspace
//   no NAME                         null pointer; NAME may be y or workspace
//   shapes no                       enqueue without onShapeChange
//   host_pointers no                as TensorRT, which does not say so
//
// Compiled by g++ it uses host memory, with -DDARNET_CUDA device memory, streams and a CUDA graph.

#include <dlfcn.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <map>
#include <memory>
#include <set>
#include <sstream>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "plugin.h"
#include "tensorrt_v3.h"

#ifdef DARNET_CUDA
#include <cuda_runtime.h>
#endif

using namespace nvinfer1;

namespace {

struct Refused : std::runtime_error {
    using std::runtime_error::runtime_error;
};

// A defect of the plugin or of this program, not an answer.
[[noreturn]] void die(const std::string& why) {
    std::fprintf(stderr, "plugin_host: %s\n", why.c_str());
    std::exit(3);
}

void expect(bool holds, const char* what) {
    if (!holds) die(std::string("expected ") + what);
}

// ---- memory --------------------------------------------------------------------------------

#ifdef DARNET_CUDA

void cuda(cudaError_t error) {
    if (error != cudaSuccess) die(cudaGetErrorString(error));
}

// Of exactly `size` bytes, followed by a guard that must stay as it is.
class Memory {
public:
    explicit Memory(size_t size) : size_(size) {
        cuda(cudaMalloc(&data_, size + kGuard));
        cuda(cudaMemset(data_, 0xA5, size + kGuard));
    }
    Memory(const Memory&) = delete;
    ~Memory() {
        std::vector<unsigned char> guard(kGuard);
        cuda(cudaMemcpy(guard.data(), data_ + size_, kGuard, cudaMemcpyDeviceToHost));
        for (const unsigned char byte : guard) expect(byte == 0xA5, "nothing written behind the end");
        cuda(cudaFree(data_));
    }
    void* data() const { return data_; }
    void write(const std::vector<char>& from) {
        cuda(cudaMemcpy(data_, from.data(), size_, cudaMemcpyHostToDevice));
    }
    std::vector<char> read() const {
        std::vector<char> to(size_);
        cuda(cudaMemcpy(to.data(), data_, size_, cudaMemcpyDeviceToHost));
        return to;
    }

private:
    static constexpr size_t kGuard = 4096;
    char* data_ = nullptr;
    size_t size_;
};

// Runs once directly and once as a CUDA graph.
template <typename Enqueue>
int32_t run(const Memory& y, Enqueue enqueue) {
    cudaStream_t stream;
    cuda(cudaStreamCreate(&stream));
    int32_t code = enqueue(stream);
    if (code == 0) {
        cuda(cudaStreamSynchronize(stream));
        const std::vector<char> direct = y.read();
        cuda(cudaMemset(y.data(), 0x5A, direct.size()));
        cudaGraph_t graph;
        cudaGraphExec_t executable;
        cuda(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal));
        code = enqueue(stream);
        cuda(cudaStreamEndCapture(stream, &graph));
        cuda(cudaGraphInstantiate(&executable, graph, 0));
        cuda(cudaGraphLaunch(executable, stream));
        cuda(cudaStreamSynchronize(stream));
        expect(y.read() == direct, "the captured graph to give the same result");
        cuda(cudaGraphExecDestroy(executable));
        cuda(cudaGraphDestroy(graph));
    }
    cuda(cudaStreamDestroy(stream));
    return code;
}

#else

// Of exactly `size` bytes, so that AddressSanitizer sees what goes beyond them.
class Memory {
public:
    explicit Memory(size_t size) : size_(size) {
        if (posix_memalign(&data_, 256, size) != 0) die("out of memory");
        std::memset(data_, 0xA5, size);
    }
    Memory(const Memory&) = delete;
    ~Memory() { std::free(data_); }
    void* data() const { return data_; }
    void write(const std::vector<char>& from) { std::memcpy(data_, from.data(), size_); }
    std::vector<char> read() const {
        const char* const from = static_cast<const char*>(data_);
        return {from, from + size_};
    }

private:
    void* data_ = nullptr;
    size_t size_;
};

template <typename Enqueue>
int32_t run(const Memory&, Enqueue enqueue) {
    return enqueue(nullptr);
}

#endif

// ---- a case --------------------------------------------------------------------------------

struct Tensor {
    std::string name;
    DataType type;
    Dims dims;
};

struct Field {
    std::string name;
    float value;
    PluginFieldType type;
    int32_t length;
};

struct Case {
    std::string folder, plugin;
    std::vector<Field> fields;
    std::vector<Tensor> inputs;
    Tensor output;
    int64_t least_batch = -1, most_batch = -1;
    std::map<std::string, Dims> at_enqueue;
    std::map<std::string, size_t> shifts;
    std::set<std::string> absent, skipped;
};

Dims read_dims(std::istream& words) {
    Dims dims{};
    while (dims.nbDims < Dims::MAX_DIMS && words >> dims.d[dims.nbDims]) ++dims.nbDims;
    return dims;
}

Case read_case(const std::string& folder) {
    Case c;
    c.folder = folder;
    std::ifstream file(folder + "/case.txt");
    if (!file) die("no " + folder + "/case.txt");
    for (std::string line; std::getline(file, line);) {
        std::istringstream words(line);
        std::string key, name;
        int type = 0;
        words >> key;
        if (key == "plugin") {
            words >> c.plugin;
        } else if (key == "field") {
            Field field{"", 0, PluginFieldType::kFLOAT32, 1};
            words >> field.name >> name;
            field.value = std::strtof(name.c_str(), nullptr);  // takes nan and inf, too
            c.fields.push_back(field);
        } else if (key == "raw_field") {
            Field field{};
            words >> field.name >> type >> field.length;
            field.type = static_cast<PluginFieldType>(type);
            c.fields.push_back(field);
        } else if (key == "input") {
            words >> name >> type;
            c.inputs.push_back({name, static_cast<DataType>(type), read_dims(words)});
        } else if (key == "output") {
            words >> type;
            c.output = {"y", static_cast<DataType>(type), read_dims(words)};
        } else if (key == "batch") {
            words >> c.least_batch >> c.most_batch;
        } else if (key == "at_enqueue") {
            words >> name;
            c.at_enqueue[name] = read_dims(words);
        } else if (key == "shift") {
            words >> name;
            words >> c.shifts[name];
        } else if (key == "no") {
            words >> name;
            c.absent.insert(name);
        } else if (key == "build_phase" || key == "shapes" || key == "host_pointers") {
            c.skipped.insert(key);
        } else {
            die(folder + "/case.txt: unknown key " + key);
        }
    }
    return c;
}

size_t bytes(const Tensor& tensor) {
    size_t size = tensor.type == DataType::kFLOAT ? 4
        : tensor.type == DataType::kINT8          ? 1
        : tensor.type == DataType::kHALF || tensor.type == DataType::kBF16 ? 2
                                                                           : 8;
    for (int i = 0; i < tensor.dims.nbDims; ++i) size *= static_cast<size_t>(tensor.dims.d[i]);
    return size;
}

std::vector<char> contents(const std::string& path, size_t size) {
    std::ifstream file(path, std::ios::binary);
    std::vector<char> data(size);
    if (!file.read(data.data(), static_cast<std::streamsize>(size))) die("cannot read " + path);
    return data;
}

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
        takes_host_pointers = get<decltype(takes_host_pointers)>("darnet_plugin_takes_host_pointers");
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
        expect(creator_->getFieldNames()->nbFields == 3, "3 fields");
        for (const Tensor& input : c.inputs) descs_.push_back(desc(input));
        descs_.push_back(desc(c.output));
    }

    size_t live() {
        size_t workspace_bytes = 0;
        for (const Field& field : case_.fields)
            fields_.emplace_back(field.name.c_str(), &field.value, field.type, field.length);
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
        const auto but_address = [](const std::string& line) { return line.substr(0, line.find("0x")); };
        expect(but_address(refusals[0]) == but_address(refusals[1]) && results[0] == results[1],
            "both contexts to agree");
        if (!refusals[0].empty()) {
            const std::string said = refusals[0].substr(refusals[0].find(": ") + 2);
            expect(!recorder.last.empty() && said.compare(0, recorder.last.size(), recorder.last) == 0,
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

    static PluginTensorDesc desc(const Tensor& tensor) {
        return {tensor.dims, tensor.type, TensorFormat::kLINEAR, 0};
    }

    Owned create(TensorRTPhase phase) {
        const PluginFieldCollection collection{static_cast<int32_t>(fields_.size()), fields_.data()};
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

    // Every type and format at every place, those before it as they are: LINEAR alone; one type, or
    // one of three for the first tensor that is no int8.
    void formats(IPluginV3OneBuild& build) {
        std::vector<DynamicPluginTensorDesc> tensors = profile();
        const int32_t inputs = static_cast<int32_t>(case_.inputs.size());
        int free_choices = 0;
        for (int32_t at = 0; at <= inputs; ++at) {
            PluginTensorDesc& tensor = tensors[static_cast<size_t>(at)].desc;
            const PluginTensorDesc actual = tensor;
            int supported = 0;
            for (int type = 0; type <= 11; ++type)
                for (int format = 0; format <= 13; ++format) {
                    tensor.type = static_cast<DataType>(type);
                    tensor.format = static_cast<TensorFormat>(format);
                    if (!build.supportsFormatCombination(at, tensors.data(), inputs, 1)) continue;
                    expect(format == 0, "LINEAR alone");
                    ++supported;
                }
            tensor = actual;
            expect(build.supportsFormatCombination(at, tensors.data(), inputs, 1), "the case's types");
            expect(supported == 1 || supported == 3, "one type, or three to begin with");
            free_choices += supported == 3;
        }
        expect(free_choices == 1, "one choice of type");
    }

    std::vector<DynamicPluginTensorDesc> profile() const {
        std::vector<DynamicPluginTensorDesc> ranges;
        for (size_t i = 0; i < descs_.size(); ++i) {
            DynamicPluginTensorDesc range{descs_[i], descs_[i].dims, descs_[i].dims, descs_[i].dims};
            const bool has_batch = range.desc.dims.nbDims == 5;
            if (has_batch && case_.most_batch >= 0) {
                range.desc.dims.d[0] = -1;
                range.min.d[0] = case_.least_batch;
                range.max.d[0] = case_.most_batch;
            }
            ranges.push_back(range);
        }
        return ranges;
    }

    // As a plan does: copies, of which nothing belongs to the plugin that is gone by then.
    void keep(const PluginFieldCollection& collection) {
        fields_.clear();
        kept_.clear();
        kept_.reserve(static_cast<size_t>(collection.nbFields));
        for (int i = 0; i < collection.nbFields; ++i) {
            const PluginField& field = collection.fields[i];
            expect(field.type == PluginFieldType::kFLOAT32 && field.length == 1, "float32 fields");
            kept_.push_back({field.name, *static_cast<const float*>(field.data), field.type, 1});
            fields_.emplace_back(kept_.back().name.c_str(), &kept_.back().value, field.type, 1);
        }
        expect(kept_.size() == case_.fields.size(), "as many serialized fields as were given");
        for (size_t i = 0; i < kept_.size(); ++i)
            for (const Field& given : case_.fields)
                expect(given.name != kept_[i].name || given.value == kept_[i].value, "the same value");
    }

    static Owned attach(IPluginV3& plugin, Context& context) {
        auto& runtime = capability<IPluginV3OneRuntime>(
            plugin, PluginCapabilityType::kRUNTIME, "PLUGIN_V3ONE_RUNTIME");
        Owned attached(runtime.attachToContext(&context));
        expect(attached != nullptr, "a plugin of its own for the context");
        return attached;
    }

    std::vector<char> execute(IPluginV3& plugin, size_t workspace_bytes) {
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
            const auto other = case_.at_enqueue.find(i < case_.inputs.size() ? case_.inputs[i].name : "y");
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
