"""Batches of any content, written by the thrift library with Jaeger's generated types."""

from __future__ import annotations

from hypothesis import strategies as st
from jaeger_client.thrift_gen.agent import Agent
from jaeger_client.thrift_gen.jaeger import ttypes as jaeger
from thrift.protocol.TCompactProtocol import TCompactProtocol
from thrift.Thrift import TMessageType, TType
from thrift.transport.TTransport import TMemoryBuffer


class Batch(jaeger.Batch):
    """The generated batch and the two fields that the IDL got after the Python client's last."""

    def __init__(self, *, seq_no=None, stats=None, **fields):
        super().__init__(**fields)
        self.seq_no, self.stats = seq_no, stats

    def write(self, protocol):
        protocol.writeStructBegin("Batch")
        protocol.writeFieldBegin("process", TType.STRUCT, 1)
        self.process.write(protocol)
        protocol.writeFieldEnd()
        protocol.writeFieldBegin("spans", TType.LIST, 2)
        protocol.writeListBegin(TType.STRUCT, len(self.spans))
        for span in self.spans:
            span.write(protocol)
        protocol.writeListEnd()
        protocol.writeFieldEnd()
        if self.seq_no is not None:
            protocol.writeFieldBegin("seqNo", TType.I64, 3)
            protocol.writeI64(self.seq_no)
            protocol.writeFieldEnd()
        if self.stats is not None:
            protocol.writeFieldBegin("stats", TType.STRUCT, 4)
            protocol.writeStructBegin("ClientStats")
            for number, figure in enumerate(self.stats, 1):
                protocol.writeFieldBegin("", TType.I64, number)
                protocol.writeI64(figure)
                protocol.writeFieldEnd()
            protocol.writeFieldStop()
            protocol.writeStructEnd()
            protocol.writeFieldEnd()
        protocol.writeFieldStop()
        protocol.writeStructEnd()


I64 = st.integers(-(2**63), 2**63 - 1)
TEXT = st.text(max_size=30)

KEYS = TEXT | st.sampled_from(["error", "span.kind", "http.url"])
VALUES = TEXT | st.sampled_from(["true", "server", "client"]) | st.text(min_size=100, max_size=400)

TAGS = st.lists(
    st.one_of(
        st.builds(jaeger.Tag, key=KEYS, vType=st.just(0), vStr=VALUES),
        st.builds(jaeger.Tag, key=KEYS, vType=st.just(1), vDouble=st.floats(allow_nan=False)),
        st.builds(jaeger.Tag, key=KEYS, vType=st.just(2), vBool=st.booleans()),
        st.builds(jaeger.Tag, key=KEYS, vType=st.just(3), vLong=I64),
    ),
    max_size=6,
)
SPANS = st.builds(
    jaeger.Span,
    traceIdLow=I64,
    traceIdHigh=I64,
    spanId=I64,
    parentSpanId=st.just(0) | I64,
    operationName=TEXT,
    flags=st.sampled_from([0, 1, 3, 9]),
    startTime=I64,
    duration=I64,
    tags=st.none() | TAGS,
    references=st.none()
    | st.lists(
        st.builds(
            jaeger.SpanRef,
            refType=st.sampled_from([0, 1]),
            traceIdLow=I64,
            traceIdHigh=I64,
            spanId=I64,
        ),
        max_size=3,
    ),
    logs=st.none() | st.lists(st.builds(jaeger.Log, timestamp=I64, fields=TAGS), max_size=3),
)
BATCHES = st.builds(
    Batch,
    process=st.builds(jaeger.Process, serviceName=TEXT, tags=st.none() | TAGS),
    spans=st.lists(SPANS, max_size=4),
    seq_no=st.none() | I64,
    stats=st.none() | st.tuples(I64, I64, I64),
)


def datagram(batch, protocol_class=TCompactProtocol):
    buffer = TMemoryBuffer()
    protocol = protocol_class(buffer)
    protocol.writeMessageBegin("emitBatch", TMessageType.ONEWAY, 1)
    Agent.emitBatch_args(batch).write(protocol)
    protocol.writeMessageEnd()
    return buffer.getvalue()
