// From TensorRT's description of the tensors to the C interface's problem, or the line that says
// which of them does not fit.
#pragma once

#include <cstdarg>
#include <cstdio>
#include <limits>

#include "attention.h"
#include "tensorrt_v3.h"

namespace darnet {

constexpr int32_t kLastAxis = 4, kSecondAxis = 1;

// Which gates a plugin has; one creator each.
struct Attention {
    const char* name;
    bool channel, depth;
};

// What the plugin's fields say.
struct Fields {
    // Of the int8 tensors, value = scale · stored; 0 where the field is absent and the tensor has
    // the gate parameters' type.
    float x_scale = 0, residual_scale = 0, y_scale = 0;
    // Where x, residual and y have C: 4 in N D H W C, 1 in N C D H W. Their memory is channels-last
    // in both cases, so the format is LINEAR in the first and DHWC or DHWC8 in the second.
    int32_t channel_axis = kLastAxis;
    int32_t input_count = 0;  // 0: not known yet
};

constexpr int kGateParameters = 4;
constexpr int kPack = 8;  // channels to which the format DHWC8 pads
constexpr int kMaxInputs = 2 + 2 * kGateParameters;
constexpr const char* kParameterNames[kGateParameters]
    = {"squeeze.weight", "squeeze.bias", "excite.weight", "excite.bias"};

class Message {
public:
    static constexpr size_t kSize = 512;
    char text[kSize] = "";

    // Always false, so that a check can end with it.
    __attribute__((format(printf, 2, 3))) bool refuse(const char* format, ...) noexcept {
        va_list arguments;
        va_start(arguments, format);
        vsnprintf(text, kSize, format, arguments);
        va_end(arguments);
        return false;
    }
};

inline const char* type_name(nvinfer1::DataType type) noexcept {
    constexpr const char* names[] = {"float32", "float16", "int8", "int32", "bool", "uint8",
        "float8", "bfloat16", "int64", "int4", "float4", "e8m0"};
    const auto index = static_cast<size_t>(type);
    return index < sizeof names / sizeof *names ? names[index] : "an unknown type";
}

// "(1, 64, 9)"
class ShapeText {
public:
    explicit ShapeText(const nvinfer1::Dims& dims) noexcept {
        size_t used = 0;
        for (int i = 0; i < dims.nbDims && i < nvinfer1::Dims::MAX_DIMS; ++i)
            used += static_cast<size_t>(snprintf(text_ + used, sizeof text_ - used, "%s%lld",
                i == 0 ? "(" : ", ", static_cast<long long>(dims.d[i])));
        snprintf(text_ + used, sizeof text_ - used, used == 0 ? "()" : ")");
    }
    const char* c_str() const noexcept { return text_; }

private:
    char text_[nvinfer1::Dims::MAX_DIMS * 23];
};

inline int parameter_count(const Attention& attention) noexcept {
    return kGateParameters * (attention.channel + attention.depth);
}

inline bool has_residual(const Attention& attention, int inputs) noexcept {
    return inputs == 2 + parameter_count(attention);
}

inline bool check_count(
    const Attention& attention, int inputs, int outputs, Message& why) noexcept {
    const int parameters = parameter_count(attention);
    if (inputs != 1 + parameters && inputs != 2 + parameters)
        return why.refuse("takes x, a residual or none, and %d gate parameters, so %d or %d "
            "inputs; there are %d", parameters, 1 + parameters, 2 + parameters, inputs);
    if (outputs != 1) return why.refuse("has 1 output, y; %d are asked for", outputs);
    return true;
}

// "x", "residual", "channel squeeze.weight", …
class InputName {
public:
    InputName(const Attention& attention, int inputs, int index) noexcept {
        const int first = 1 + has_residual(attention, inputs);
        if (index < first) {
            snprintf(text_, sizeof text_, "%s", index == 0 ? "x" : "residual");
            return;
        }
        const int gate = (index - first) / kGateParameters;
        snprintf(text_, sizeof text_, "%s %s",
            attention.channel && gate == 0 ? "channel" : "depth",
            kParameterNames[(index - first) % kGateParameters]);
    }
    const char* c_str() const noexcept { return text_; }

private:
    char text_[32];
};

inline bool is_float(nvinfer1::DataType type) noexcept {
    return type == nvinfer1::DataType::kFLOAT || type == nvinfer1::DataType::kHALF
        || type == nvinfer1::DataType::kBF16;
}

inline bool check_type(const char* name, nvinfer1::DataType type, float scale,
    nvinfer1::DataType weights, Message& why) noexcept {
    const bool is_int8 = type == nvinfer1::DataType::kINT8;
    if (scale > 0 && !is_int8)
        return why.refuse(
            "%s must be int8, as %s_scale says; it is %s", name, name, type_name(type));
    if (scale == 0 && is_int8)
        return why.refuse("%s is int8 and needs the field %s_scale", name, name);
    if (!is_int8 && type != weights)
        return why.refuse(
            "%s must be %s, as the gate parameters are, or int8 with %s_scale; it is %s", name,
            type_name(weights), name, type_name(type));
    return true;
}

// The types of the inputs in order; y's follows from them.
template <typename TypeOf>
bool check_types(const Attention& attention, const Fields& fields, int inputs, TypeOf type_of,
    Message& why) noexcept {
    const int first = 1 + has_residual(attention, inputs);
    const nvinfer1::DataType weights = type_of(first);
    for (int i = first; i < inputs; ++i) {
        const nvinfer1::DataType type = type_of(i);
        const InputName name(attention, inputs, i);
        if (!is_float(type))
            return why.refuse("gate parameters must be float32, float16 or bfloat16; %s is %s",
                name.c_str(), type_name(type));
        if (type != weights)
            return why.refuse("gate parameters must have one type; %s is %s and %s is %s",
                InputName(attention, inputs, first).c_str(), type_name(weights), name.c_str(),
                type_name(type));
    }
    return check_type("x", type_of(0), fields.x_scale, weights, why)
        && (first == 1 || check_type("residual", type_of(1), fields.residual_scale, weights, why));
}

inline nvinfer1::DataType output_type(const Fields& fields, nvinfer1::DataType weights) noexcept {
    return fields.y_scale > 0 ? nvinfer1::DataType::kINT8 : weights;
}

inline int rank_of_input(const Attention& attention, int inputs, int index) noexcept {
    const int first = 1 + has_residual(attention, inputs);
    return index < first ? 5 : (index - first) % 2 == 0 ? 2 : 1;
}

template <typename RankOf>
bool check_ranks(const Attention& attention, const Fields& fields, int inputs, RankOf rank_of,
    Message& why) noexcept {
    const char* const axes = fields.channel_axis == kLastAxis ? ", n d h w c" : ", n c d h w";
    for (int i = 0; i < inputs; ++i) {
        const int expected = rank_of_input(attention, inputs, i);
        if (rank_of(i) != expected)
            return why.refuse("%s must have %d dimension%s%s; it has %d",
                InputName(attention, inputs, i).c_str(), expected, expected == 1 ? "" : "s",
                expected == 5 ? axes : "", rank_of(i));
    }
    return true;
}

inline int32_t depth_axis(const Fields& fields) noexcept {
    return fields.channel_axis == kLastAxis ? 1 : 2;
}

inline nvinfer1::TensorFormat format_of(const Fields& fields, nvinfer1::DataType type) noexcept {
    if (fields.channel_axis == kLastAxis) return nvinfer1::TensorFormat::kLINEAR;
    return type == nvinfer1::DataType::kFLOAT ? nvinfer1::TensorFormat::kDHWC
                                              : nvinfer1::TensorFormat::kDHWC8;
}

// DHWC8 pads C, and the kernels know no padding.
inline bool check_padding(nvinfer1::TensorFormat format, int64_t channels, Message& why) noexcept {
    if (format != nvinfer1::TensorFormat::kDHWC8 || channels % kPack == 0) return true;
    return why.refuse("with the format DHWC8 the channels must be a multiple of %d; there are %lld",
        kPack, static_cast<long long>(channels));
}

inline bool same_shape(const nvinfer1::Dims& a, const nvinfer1::Dims& b) noexcept {
    if (a.nbDims != b.nbDims) return false;
    for (int i = 0; i < a.nbDims; ++i)
        if (a.d[i] != b.d[i]) return false;
    return true;
}

// One gate's four shapes against each other and against x; 0 where they do not fit.
inline int32_t hidden_units(const char* kind, const nvinfer1::PluginTensorDesc* parameters,
    const DarnetAttention& a, int64_t features, Message& why) noexcept {
    const int64_t hidden = parameters[0].dims.d[0];
    const int64_t expected[kGateParameters][2]
        = {{hidden, features}, {hidden, 0}, {features, hidden}, {features, 0}};
    if (hidden < 1 || hidden > std::numeric_limits<int32_t>::max()) {
        why.refuse("%s squeeze.weight has %lld hidden units", kind, static_cast<long long>(hidden));
        return 0;
    }
    for (int p = 0; p < kGateParameters; ++p) {
        const nvinfer1::Dims& dims = parameters[p].dims;
        bool fits = dims.d[0] == expected[p][0];
        if (dims.nbDims == 2) fits = fits && dims.d[1] == expected[p][1];
        if (fits) continue;
        nvinfer1::Dims wanted = dims;
        wanted.d[0] = expected[p][0], wanted.d[1] = expected[p][1];
        why.refuse("%s %s must be %s for x of depth %d with %d channels and %lld hidden units; "
            "it is %s", kind, kParameterNames[p], ShapeText(wanted).c_str(), a.d, a.c,
            static_cast<long long>(hidden), ShapeText(dims).c_str());
        return 0;
    }
    return static_cast<int32_t>(hidden);
}

// Everything that can be known without the pointers. True: `a` passes darnet_attention_check.
inline bool describe(const Attention& attention, const Fields& fields,
    const nvinfer1::PluginTensorDesc* in, int inputs, const nvinfer1::PluginTensorDesc& y,
    DarnetAttention& a, Message& why) noexcept {
    const auto type_of = [in](int i) { return in[i].type; };
    const auto rank_of = [in](int i) { return in[i].dims.nbDims; };
    if (!check_types(attention, fields, inputs, type_of, why)
        || !check_ranks(attention, fields, inputs, rank_of, why))
        return false;
    const int first = 1 + has_residual(attention, inputs);
    const nvinfer1::DataType weights = in[first].type;
    if (y.type != output_type(fields, weights))
        return why.refuse("y must be %s; it is %s", type_name(output_type(fields, weights)),
            type_name(y.type));
    for (int i = 0; i <= inputs; ++i) {
        const nvinfer1::PluginTensorDesc& tensor = i < inputs ? in[i] : y;
        const bool is_parameter = i >= first && i < inputs;
        const auto wanted
            = is_parameter ? nvinfer1::TensorFormat::kLINEAR : format_of(fields, tensor.type);
        if (tensor.format != wanted)
            return why.refuse("%s must have format %d; it has format %d",
                i < inputs ? InputName(attention, inputs, i).c_str() : "y",
                static_cast<int>(wanted), static_cast<int>(tensor.format));
    }
    const nvinfer1::Dims& x = in[0].dims;
    for (int i = 0; i < x.nbDims; ++i)
        if (x.d[i] < 0 || x.d[i] > std::numeric_limits<int32_t>::max())
            return why.refuse("x is %s: a length is out of range", ShapeText(x).c_str());
    if (first == 2 && !same_shape(in[1].dims, x))
        return why.refuse("residual must be %s, as x is; it is %s", ShapeText(x).c_str(),
            ShapeText(in[1].dims).c_str());
    if (!same_shape(y.dims, x))
        return why.refuse("y must be %s, as x is; it is %s", ShapeText(x).c_str(),
            ShapeText(y.dims).c_str());

    a = {};
    const int32_t channels = fields.channel_axis, depth = depth_axis(fields);
    if (!check_padding(in[0].format, x.d[channels], why)) return false;
    a.n = static_cast<int32_t>(x.d[0]), a.d = static_cast<int32_t>(x.d[depth]);
    a.h = static_cast<int32_t>(x.d[depth + 1]), a.w = static_cast<int32_t>(x.d[depth + 2]);
    a.c = static_cast<int32_t>(x.d[channels]);
    a.weight_type = static_cast<int32_t>(weights);
    a.x_type = static_cast<int32_t>(in[0].type), a.x_scale = fields.x_scale;
    a.y_type = static_cast<int32_t>(y.type), a.y_scale = fields.y_scale;
    a.has_residual = first == 2;
    if (a.has_residual) {
        a.residual_type = static_cast<int32_t>(in[1].type);
        a.residual_scale = fields.residual_scale;
    }
    const nvinfer1::PluginTensorDesc* parameters = in + first;
    if (attention.channel) {
        a.channel_hidden = hidden_units("channel", parameters, a, a.c, why);
        if (a.channel_hidden == 0) return false;
        parameters += kGateParameters;
    }
    if (attention.depth) {
        a.depth_hidden = hidden_units("depth", parameters, a, int64_t{a.c} * a.d, why);
        if (a.depth_hidden == 0) return false;
    }
    return darnet_attention_check(&a, why.text, Message::kSize) == 0;
}

}  // namespace darnet
