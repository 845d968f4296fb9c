// A case of plugin_host.cpp, read from its folder.
#pragma once

#include <fstream>
#include <map>
#include <set>
#include <sstream>

#include "plugin_host_memory.h"

using namespace nvinfer1;

struct Tensor {
    std::string name;
    DataType type;
    Dims dims;
};

struct Field {
    std::string name;
    float value;
    int32_t number;  // the value of an int32 field
    PluginFieldType type;
    int32_t length;

    const void* data() const {
        if (type == PluginFieldType::kINT32) return &number;
        return &value;
    }
    void* data() { return const_cast<void*>(static_cast<const Field*>(this)->data()); }
};

struct Case {
    std::string folder, plugin;
    std::vector<Field> fields;
    std::vector<Tensor> inputs;
    Tensor output;
    TensorFormat map_format = TensorFormat::kLINEAR;  // of x, residual and y
    int64_t least_batch = -1, most_batch = -1, most_rows = -1;
    std::map<std::string, Dims> at_enqueue;
    std::map<std::string, size_t> shifts;
    std::set<std::string> absent, skipped;
};

inline Dims read_dims(std::istream& words) {
    Dims dims{};
    while (dims.nbDims < Dims::MAX_DIMS && words >> dims.d[dims.nbDims]) ++dims.nbDims;
    return dims;
}

inline Case read_case(const std::string& folder) {
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
            Field field{"", 0, 0, PluginFieldType::kFLOAT32, 1};
            words >> field.name >> name;
            field.value = std::strtof(name.c_str(), nullptr);  // takes nan and inf, too
            c.fields.push_back(field);
        } else if (key == "int_field") {
            Field field{"", 0, 0, PluginFieldType::kINT32, 1};
            words >> field.name >> field.number;
            c.fields.push_back(field);
        } else if (key == "channels_first") {
            words >> name;
            c.map_format = name == "DHWC8" ? TensorFormat::kDHWC8 : TensorFormat::kDHWC;
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
        } else if (key == "most_rows") {
            words >> c.most_rows;
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

inline size_t bytes(const Tensor& tensor) {
    size_t size = tensor.type == DataType::kFLOAT ? 4
        : tensor.type == DataType::kINT8          ? 1
        : tensor.type == DataType::kHALF || tensor.type == DataType::kBF16 ? 2
                                                                           : 8;
    for (int i = 0; i < tensor.dims.nbDims; ++i) size *= static_cast<size_t>(tensor.dims.d[i]);
    return size;
}

inline std::vector<char> contents(const std::string& path, size_t size) {
    std::ifstream file(path, std::ios::binary);
    std::vector<char> data(size);
    if (!file.read(data.data(), static_cast<std::streamsize>(size))) die("cannot read " + path);
    return data;
}
