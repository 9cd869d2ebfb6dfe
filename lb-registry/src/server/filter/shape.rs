//! What answers are made of, and so what can be asked of them.
//!
//! A selector is judged by these and not by the values at hand: what is not a field is refused also if there is nothing
//! to look at, and a field that an answer leaves out is empty. Measured on Consul 1.8.7, field by field.

use super::parse::Operator;

/// A kind of value.
#[derive(Clone, Copy, Debug)]
pub(in crate::server) enum Shape {
    Text,
    Number,
    Flag,
    /// A list of texts.
    Words,
    /// Values of one kind under keys of the user's own.
    Table(&'static Shape),
    Record(Fields),
    /// A list of records: a field of it is the field of any of them.
    Records(Fields),
}

type Fields = &'static [(&'static str, Shape)];

use Shape::{Flag, Number, Record, Records, Table, Text, Words};

const NODE_FIELDS: Fields = &[
    ("ID", Text),
    ("Node", Text),
    ("Address", Text),
    ("Datacenter", Text),
    ("TaggedAddresses", Table(&Text)),
    ("Meta", Table(&Text)),
];

const CHECK_FIELDS: Fields = &[
    ("Node", Text),
    ("CheckID", Text),
    ("Name", Text),
    ("Status", Text),
    ("Notes", Text),
    ("Output", Text),
    ("ServiceID", Text),
    ("ServiceName", Text),
    ("ServiceTags", Words),
    ("Type", Text),
];

const ADDRESS: Shape = Record(&[("Address", Text), ("Port", Number)]);
const WEIGHTS: Shape = Record(&[("Passing", Number), ("Warning", Number)]);
const CONNECT: Shape = Record(&[("Native", Flag)]);
const MESH_GATEWAY: Shape = Record(&[("Mode", Text)]);

/// Nothing here is a proxy, so all of this is empty; but it may be asked for.
const PROXY: Shape = Record(&[
    ("DestinationServiceName", Text),
    ("DestinationServiceID", Text),
    ("LocalServiceAddress", Text),
    ("LocalServicePort", Number),
    (
        "Upstreams",
        Records(&[
            ("DestinationType", Text),
            ("DestinationNamespace", Text),
            ("DestinationName", Text),
            ("Datacenter", Text),
            ("LocalBindAddress", Text),
            ("LocalBindPort", Number),
            ("MeshGateway", MESH_GATEWAY),
        ]),
    ),
    ("MeshGateway", MESH_GATEWAY),
    (
        "Expose",
        Record(&[
            ("Checks", Flag),
            (
                "Paths",
                Records(&[
                    ("ListenerPort", Number),
                    ("Path", Text),
                    ("LocalPathPort", Number),
                    ("Protocol", Text),
                    ("ParsedFromCheck", Flag),
                ]),
            ),
        ]),
    ),
]);

const SERVICE_FIELDS: Fields = &[
    ("Kind", Text),
    ("ID", Text),
    ("Service", Text),
    ("Tags", Words),
    ("Address", Text),
    ("TaggedAddresses", Table(&ADDRESS)),
    ("Meta", Table(&Text)),
    ("Port", Number),
    ("Weights", WEIGHTS),
    ("EnableTagOverride", Flag),
    ("Proxy", PROXY),
    ("Connect", CONNECT),
];

/// A node of the catalog.
pub(in crate::server) const NODE: Shape = Record(NODE_FIELDS);
/// A check.
pub(in crate::server) const CHECK: Shape = Record(CHECK_FIELDS);
/// A service of the agent or of a node.
pub(in crate::server) const SERVICE: Shape = Record(SERVICE_FIELDS);
/// An instance with its node and its checks.
pub(in crate::server) const INSTANCE: Shape = Record(&[
    ("Node", NODE),
    ("Service", SERVICE),
    ("Checks", Records(CHECK_FIELDS)),
]);
/// A service as the catalog lists it.
pub(in crate::server) const FLAT: Shape = Record(&[
    ("ID", Text),
    ("Node", Text),
    ("Address", Text),
    ("Datacenter", Text),
    ("TaggedAddresses", Table(&Text)),
    ("NodeMeta", Table(&Text)),
    ("ServiceKind", Text),
    ("ServiceID", Text),
    ("ServiceName", Text),
    ("ServiceTags", Words),
    ("ServiceAddress", Text),
    ("ServiceTaggedAddresses", Table(&ADDRESS)),
    ("ServiceWeights", WEIGHTS),
    ("ServiceMeta", Table(&Text)),
    ("ServicePort", Number),
    ("ServiceEnableTagOverride", Flag),
    ("ServiceProxy", PROXY),
    ("ServiceConnect", CONNECT),
]);

impl Shape {
    /// What a part of a selector leads to; `None` if there is no such thing.
    pub(super) fn part(self, name: &str) -> Option<Self> {
        match self {
            Record(fields) | Records(fields) => {
                let field = fields.iter().find(|(field, _)| *field == name);
                field.map(|(_, shape)| *shape)
            }
            Table(values) => Some(*values),
            Text | Number | Flag | Words => None,
        }
    }

    pub(super) fn allows(self, operator: Operator) -> bool {
        match self {
            Text => operator != Operator::IsEmpty,
            Number | Flag => operator == Operator::Equal,
            Words | Table(_) => matches!(operator, Operator::IsEmpty | Operator::Contains),
            Records(_) => operator == Operator::IsEmpty,
            Record(_) => false,
        }
    }
}
