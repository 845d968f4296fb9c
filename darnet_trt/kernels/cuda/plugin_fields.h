// The plugin's fields: their names, and reading them.
#pragma once

#include <cmath>
#include <cstring>

#include "plugin_problem.h"

namespace darnet {

struct ScaleField {
    const char* name;
    float Fields::* value;
};
constexpr ScaleField kScales[] = {{"x_scale", &Fields::x_scale},
    {"residual_scale", &Fields::residual_scale}, {"y_scale", &Fields::y_scale}};
constexpr const char *kChannelAxis = "channel_axis", *kInputCount = "input_count";
constexpr int kNamedFields = 4, kSerializedFields = 5;  // input_count is only serialized

// A field of 4 bytes.
inline bool copy(const nvinfer1::PluginField& field, nvinfer1::PluginFieldType type,
    const char* type_name, void* value, Message& why) noexcept {
    if (field.type != type || field.length != 1 || field.data == nullptr)
        return why.refuse("the field %s must be one %s; it has type %d and length %d", field.name,
            type_name, static_cast<int>(field.type), field.length);
    memcpy(value, field.data, 4);
    return true;
}

inline bool take(const nvinfer1::PluginField& field, Fields& fields, Message& why) noexcept {
    constexpr auto kInt = nvinfer1::PluginFieldType::kINT32;
    const char* const name = field.name == nullptr ? "" : field.name;
    for (const ScaleField& scale : kScales) {
        if (strcmp(name, scale.name) != 0) continue;
        float& value = fields.*scale.value;
        if (!copy(field, nvinfer1::PluginFieldType::kFLOAT32, "float32", &value, why)) return false;
        return (std::isfinite(value) && value > 0)
            || why.refuse("%s must be above 0; it is %g", name, static_cast<double>(value));
    }
    if (strcmp(name, kInputCount) == 0)
        return copy(field, kInt, "int32", &fields.input_count, why);
    if (strcmp(name, kChannelAxis) == 0)
        return copy(field, kInt, "int32", &fields.channel_axis, why);
    return why.refuse(
        "the fields are x_scale, residual_scale, y_scale and channel_axis; found '%s'", name);
}

// Whether the fields fit each other and the plugin.
inline bool agree(const Attention& attention, const Fields& fields, Message& why) noexcept {
    if (fields.channel_axis != kLastAxis && fields.channel_axis != kSecondAxis)
        return why.refuse("channel_axis must be %d, for N D H W C, or %d, for N C D H W; it is %d",
            kLastAxis, kSecondAxis, fields.channel_axis);
    for (const ScaleField& scale : kScales)
        if (fields.channel_axis == kSecondAxis && fields.*scale.value > 0)
            return why.refuse("%s needs channel_axis %d: TensorRT's 3D format for int8, CDHW32, "
                "is not channels-last", scale.name, kLastAxis);
    return fields.input_count == 0 || check_count(attention, fields.input_count, 1, why);
}

}  // namespace darnet
