//! `/v1/status/…`, and how the server itself is.

use http::StatusCode;
use serde_json::json;

use super::Call;
use super::reply::Reply;
use super::route::Status;

impl Call {
    pub(super) fn status(&self, resource: Status) -> Reply {
        let leader = format!("{}:8300", self.shared.node.address);
        match resource {
            Status::Leader if !self.store().is_followed() => Reply::json(&""),
            Status::Leader => Reply::json(&leader),
            Status::Peers => Reply::json(&[leader]),
            Status::Alive => Reply::json(&json!({"status": "healthy"})),
            Status::Ready if !self.store().is_ready() => {
                let status = json!({"status": "waiting for the other replicas"});
                Reply::json(&status).status(StatusCode::SERVICE_UNAVAILABLE)
            }
            Status::Ready => Reply::json(&json!({"status": "ready"})),
            Status::TokenSelf if self.shared.access.token.is_none() => {
                Reply::text(StatusCode::UNAUTHORIZED, "ACL support disabled")
            }
            Status::TokenSelf if !self.access.is_full() => {
                Reply::text(StatusCode::FORBIDDEN, "ACL not found")
            }
            Status::TokenSelf => Reply::json(&json!({
                "Description": "the token of this server",
                "Policies": [{"Name": "global-management"}],
                "Local": false,
            })),
        }
    }
}
