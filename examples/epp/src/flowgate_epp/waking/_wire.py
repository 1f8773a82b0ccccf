"""The messages of KEDA's external scaler protocol, described here so that no generated file binds a protobuf version.

Names, numbers and types are those of the ``externalscaler.proto`` that KEDA publishes; a test compares the two.
"""

from types import MappingProxyType
from typing import Any, Final

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

__all__ = ["MESSAGES", "SERVICE"]

SERVICE: Final = "externalscaler.ExternalScaler"

_Field = descriptor_pb2.FieldDescriptorProto
_REF: Final = "ScaledObjectRef"
_ENTRY: Final = "ScalerMetadataEntry"

# Fields by message, numbered from 1 in this order; a name in brackets is a repeated message.
_FIELDS: Final[dict[str, tuple[tuple[str, str], ...]]] = {
    _REF: (("name", "string"), ("namespace", "string"), ("scalerMetadata", f"[{_REF}.{_ENTRY}]")),
    "IsActiveResponse": (("result", "bool"),),
    "GetMetricSpecResponse": (("metricSpecs", "[MetricSpec]"),),
    "MetricSpec": (("metricName", "string"), ("targetSize", "int64"), ("targetSizeFloat", "double")),
    "GetMetricsRequest": (("scaledObjectRef", _REF), ("metricName", "string")),
    "GetMetricsResponse": (("metricValues", "[MetricValue]"),),
    "MetricValue": (("metricName", "string"), ("metricValue", "int64"), ("metricValueFloat", "double")),
}
_SCALARS: Final = {
    "string": _Field.TYPE_STRING,
    "bool": _Field.TYPE_BOOL,
    "int64": _Field.TYPE_INT64,
    "double": _Field.TYPE_DOUBLE,
}


def _describe(message: Any, fields: tuple[tuple[str, str], ...]) -> None:
    for number, (name, kind) in enumerate(fields, 1):
        label = _Field.LABEL_REPEATED if kind.startswith("[") else _Field.LABEL_OPTIONAL
        field = message.field.add(name=name, number=number, label=label)
        if kind in _SCALARS:
            field.type = _SCALARS[kind]
        else:
            field.type, field.type_name = _Field.TYPE_MESSAGE, f".externalscaler.{kind.strip('[]')}"


def _classes() -> dict[str, Any]:
    file = descriptor_pb2.FileDescriptorProto(name="externalscaler.proto", package="externalscaler", syntax="proto3")
    for name, fields in _FIELDS.items():
        message = file.message_type.add(name=name)
        _describe(message, fields)
        if name == _REF:  # a map is a repeated message of key and value
            entry = message.nested_type.add(name=_ENTRY)
            entry.options.map_entry = True
            _describe(entry, (("key", "string"), ("value", "string")))
    pool = descriptor_pool.DescriptorPool()  # our own: the process may hold generated stubs of the same names
    pool.Add(file)
    found = pool.FindFileByName(file.name).message_types_by_name
    return {name: message_factory.GetMessageClass(descriptor) for name, descriptor in found.items()}


MESSAGES: Final = MappingProxyType(_classes())
"""The classes of its messages, by name."""
