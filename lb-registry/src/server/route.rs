//! Which path means what.

use http::Method;
use percent_encoding::percent_decode_str;

use super::Shared;
use super::reply::{Failure, Reply};

/// What a path names, and which methods it takes.
#[derive(Debug)]
pub(super) struct Route {
    pub(super) resource: Resource,
    pub(super) methods: &'static [Method],
}

#[derive(Debug)]
pub(super) enum Resource {
    Agent(Agent),
    Check(Check),
    Health(Health),
    Catalog(Catalog),
    Key(String),
    Session(Session),
    Status(Status),
}

#[derive(Debug)]
pub(super) enum Agent {
    Register,
    Deregister(String),
    Maintenance(String),
    NodeMaintenance,
    Service(String),
    Services,
    Checks,
    HealthByName(String),
    HealthById(String),
    Myself,
    Members,
}

#[derive(Debug)]
pub(super) enum Check {
    Register,
    Deregister(String),
    Report(crate::catalog::CheckStatus, String),
    Update(String),
}

#[derive(Debug)]
pub(super) enum Health {
    Service(String),
    Checks(String),
    Node(String),
    State(String),
}

#[derive(Debug)]
pub(super) enum Catalog {
    Datacenters,
    Nodes,
    Node(String),
    NodeServices(String),
    Services,
    Service(String),
}

#[derive(Debug)]
pub(super) enum Session {
    Create,
    Destroy(String),
    Renew(String),
    Info(String),
    Node(String),
    List,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Status {
    Leader,
    Peers,
    Alive,
    Ready,
    TokenSelf,
}

const GET: &[Method] = &[Method::GET];
const PUT: &[Method] = &[Method::PUT];
const KEY: &[Method] = &[Method::GET, Method::PUT, Method::DELETE];

/// Finds the route; names in paths are percent-decoded.
pub(super) fn find(path: &str) -> Result<Route, Failure> {
    let not_found = || Failure(Reply::empty().status(http::StatusCode::NOT_FOUND));
    let simple = |status| Route {
        resource: Resource::Status(status),
        methods: GET,
    };
    let rest = match path {
        "/health" => return Ok(simple(Status::Alive)),
        "/ready" => return Ok(simple(Status::Ready)),
        _ => path.strip_prefix("/v1/").ok_or_else(not_found)?,
    };
    let (area, rest) = rest.split_once('/').ok_or_else(not_found)?;
    let found = match area {
        "agent" => agent(rest)?,
        "health" => health(rest)?,
        "catalog" => catalog(rest)?,
        "session" => session(rest)?,
        "kv" => Some(Route {
            resource: Resource::Key(decode(rest)?),
            methods: KEY,
        }),
        "status" => match rest {
            "leader" => Some(simple(Status::Leader)),
            "peers" => Some(simple(Status::Peers)),
            _ => None,
        },
        "acl" => (rest == "token/self").then(|| simple(Status::TokenSelf)),
        _ => None,
    };
    found.ok_or_else(not_found)
}

fn agent(rest: &str) -> Result<Option<Route>, Failure> {
    let get = |resource| {
        Some(Route {
            resource: Resource::Agent(resource),
            methods: GET,
        })
    };
    let put = |resource| {
        Some(Route {
            resource: Resource::Agent(resource),
            methods: PUT,
        })
    };
    Ok(match rest {
        "services" => get(Agent::Services),
        "checks" => get(Agent::Checks),
        "self" => get(Agent::Myself),
        "members" => get(Agent::Members),
        "maintenance" => put(Agent::NodeMaintenance),
        "service/register" => put(Agent::Register),
        _ => {
            if let Some(check) = rest.strip_prefix("check/") {
                return agent_check(check);
            }
            if let Some(name) = rest.strip_prefix("health/service/name/") {
                get(Agent::HealthByName(decode(name)?))
            } else if let Some(id) = rest.strip_prefix("health/service/id/") {
                get(Agent::HealthById(decode(id)?))
            } else if let Some(id) = rest.strip_prefix("service/deregister/") {
                put(Agent::Deregister(decode(id)?))
            } else if let Some(id) = rest.strip_prefix("service/maintenance/") {
                put(Agent::Maintenance(decode(id)?))
            } else if let Some(id) = rest.strip_prefix("service/") {
                get(Agent::Service(decode(id)?))
            } else {
                None
            }
        }
    })
}

fn agent_check(rest: &str) -> Result<Option<Route>, Failure> {
    use crate::catalog::CheckStatus::{Critical, Passing, Warning};
    let put = |check| {
        Some(Route {
            resource: Resource::Check(check),
            methods: PUT,
        })
    };
    if rest == "register" {
        return Ok(put(Check::Register));
    }
    let Some((verb, id)) = rest.split_once('/') else {
        return Ok(None);
    };
    let id = decode(id)?;
    Ok(match verb {
        "deregister" => put(Check::Deregister(id)),
        "pass" => put(Check::Report(Passing, id)),
        "warn" => put(Check::Report(Warning, id)),
        "fail" => put(Check::Report(Critical, id)),
        "update" => put(Check::Update(id)),
        _ => None,
    })
}

fn health(rest: &str) -> Result<Option<Route>, Failure> {
    let Some((what, name)) = rest.split_once('/') else {
        return Ok(None);
    };
    let name = decode(name)?;
    let health = match what {
        "service" => Health::Service(name),
        "checks" => Health::Checks(name),
        "node" => Health::Node(name),
        "state" => Health::State(name),
        _ => return Ok(None),
    };
    Ok(Some(Route {
        resource: Resource::Health(health),
        methods: GET,
    }))
}

fn catalog(rest: &str) -> Result<Option<Route>, Failure> {
    let catalog = match rest.split_once('/') {
        None if rest == "datacenters" => Catalog::Datacenters,
        None if rest == "nodes" => Catalog::Nodes,
        None if rest == "services" => Catalog::Services,
        Some(("service", name)) => Catalog::Service(decode(name)?),
        Some(("node", name)) => Catalog::Node(decode(name)?),
        Some(("node-services", name)) => Catalog::NodeServices(decode(name)?),
        _ => return Ok(None),
    };
    Ok(Some(Route {
        resource: Resource::Catalog(catalog),
        methods: GET,
    }))
}

fn session(rest: &str) -> Result<Option<Route>, Failure> {
    let route = |session, methods| {
        Some(Route {
            resource: Resource::Session(session),
            methods,
        })
    };
    Ok(match rest.split_once('/') {
        None if rest == "create" => route(Session::Create, PUT),
        None if rest == "list" => route(Session::List, GET),
        Some(("destroy", id)) => route(Session::Destroy(decode(id)?), PUT),
        Some(("renew", id)) => route(Session::Renew(decode(id)?), PUT),
        Some(("info", id)) => route(Session::Info(decode(id)?), GET),
        Some(("node", name)) => route(Session::Node(decode(name)?), GET),
        _ => None,
    })
}

fn decode(text: &str) -> Result<String, Failure> {
    match percent_decode_str(text).decode_utf8() {
        Ok(text) => Ok(text.into_owned()),
        Err(_) => Err(Failure::bad("the path is not UTF-8")),
    }
}

impl Resource {
    /// What this agent was told, whichever datacenter the query names; so does Consul.
    pub(super) fn is_local(&self) -> bool {
        matches!(self, Self::Agent(_) | Self::Check(_))
    }

    /// Answered to anybody, whatever the token.
    pub(super) fn is_open(&self) -> bool {
        matches!(
            self,
            Self::Status(Status::Alive | Status::Ready | Status::Leader | Status::Peers)
                | Self::Catalog(Catalog::Datacenters)
        )
    }

    pub(super) fn body_limit(&self, shared: &Shared) -> usize {
        match self {
            Self::Key(_) => shared.store.read(|catalog| catalog.limits().value_bytes),
            _ => shared.limits.body_bytes,
        }
    }
}
