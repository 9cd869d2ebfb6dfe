//! What users keep in their state goes to any thread, errors can be handed on, and everything can be printed.
//! A type that loses one of these no longer compiles here.

use std::error::Error;
use std::fmt::Debug;

use lb_autoscale::actuator::{DryRun, Shared};

/// For an `axum::State`, an `Arc`, a task.
fn handle<T: Clone + Debug + Send + Sync + 'static>() {}

/// Kept by one, for as long as something shall last.
fn guard<T: Debug + Send + Sync + 'static>() {}

/// Moves into a task.
fn movable<T: Debug + Send + 'static>() {}

/// For `?` into a `Box<dyn Error + Send + Sync>`.
fn error<T: Error + Send + Sync + 'static>() {}

#[test]
fn handles_are_shared_between_threads() {
    handle::<lb_core::Pool>();
    handle::<lb_core::WeakPool>();
    handle::<lb_core::ReverseProxy>();
    handle::<lb_core::Affinity>();
    handle::<lb_core::balance::Balance<axum::Router>>();
    handle::<lb_core::balance::BalanceLayer>();
    handle::<lb_core::split::Split<lb_core::ReverseProxy>>();
    handle::<lb_core::split::MirrorLayer<lb_core::ReverseProxy>>();
    handle::<lb_core::limit::RateLimiter<lb_core::limit::Client>>();
    handle::<lb_core::limit::RateLimitLayer<lb_core::limit::Client>>();
    handle::<lb_core::limit::ConcurrencyLimitLayer>();
    handle::<lb_core::report::ReportLayer>();
    handle::<lb_core::report::HostSampler>();
    handle::<lb_core::health::HealthCheck>();
    handle::<lb_core::hedge::Hedge>();
    handle::<lb_core::proxy::UpstreamTls>();
    handle::<lb_cache::TieredCache<String, u64>>();
    handle::<lb_cache::redb::RedbTier>();
    handle::<lb_cache::redis::RedisTier>();
    handle::<lb_cache::postgres::PostgresTier>();
    handle::<lb_cache::admin::Admin>();
    handle::<lb_registry::InProcess>();
    handle::<lb_registry::Consul>();
    handle::<lb_registry::Kubernetes>();
    handle::<lb_registry::Dns>();
    handle::<lb_registry::File>();
    handle::<lb_registry::Fixed>();
    handle::<lb_registry::Membership>();
    handle::<lb_registry::EmbeddedServer>();
    handle::<lb_registry::HealthRoutes>();
    handle::<lb_registry::admin::Admin>();
    handle::<lb_autoscale::run::Control>();
    handle::<lb_autoscale::source::Gauges>();
    handle::<lb_autoscale::prometheus::Prometheus>();
    handle::<lb_autoscale::kubernetes::Kubernetes>();
    handle::<lb_autoscale::admin::Admin>();
    handle::<Shared<DryRun>>();
    handle::<lb_gpu::FairShare>();
    handle::<lb_gpu::sampler::Handle>();
    handle::<lb_gpu::admin::Admin>();
}

#[test]
fn guards_may_be_kept_anywhere() {
    guard::<lb_core::Lease>();
    guard::<lb_core::health::HealthChecks>();
    guard::<lb_core::outlier::OutlierDetector>();
    guard::<lb_core::proxy::GatewayServer>();
    guard::<lb_registry::membership::Member>();
    guard::<lb_registry::etcd::Replica>();
    guard::<lb_registry::Watch>();
    guard::<lb_registry::Merge>();
    guard::<lb_autoscale::AutoscalerHandle>();
    guard::<lb_gpu::Sampler>();
    guard::<lb_gpu::Permit>();
    movable::<lb_core::pool::Drained>();
    movable::<lb_core::pool::PoolBuilder>();
    movable::<lb_cache::Lookup<u64>>();
    movable::<lb_cache::Builder<String, u64>>();
    movable::<lb_registry::watch::Changes>();
    movable::<lb_autoscale::LocalProcesses>();
    movable::<lb_autoscale::Autoscaler<lb_autoscale::source::Gauges, DryRun>>();
    movable::<lb_gpu::fair::Acquire>();
}

#[test]
fn errors_can_be_handed_on() {
    error::<lb_core::ConfigError>();
    error::<lb_core::PickError>();
    error::<lb_core::balance::BalanceError>();
    error::<lb_core::health::ProbeError>();
    error::<lb_core::limit::QuotaError>();
    error::<lb_core::proxy::BodyError>();
    error::<lb_core::proxy::ProxyError>();
    error::<lb_core::proxy::UpstreamTlsError>();
    error::<lb_core::report::ReportError>();
    error::<lb_cache::CacheError>();
    error::<lb_cache::ConfigError>();
    error::<lb_cache::envelope::Unreadable>();
    error::<lb_cache::tier::TierError>();
    error::<lb_registry::InvalidCertificates>();
    error::<lb_registry::InvalidUrl>();
    error::<lb_registry::RegistryError>();
    error::<lb_registry::catalog::CatalogError>();
    error::<lb_registry::duration::DurationError>();
    error::<lb_registry::etcd::AlreadyShared>();
    error::<lb_registry::kubernetes::InClusterError>();
    error::<lb_autoscale::actuator::ActuatorError>();
    error::<lb_autoscale::hpa::MetricError>();
    error::<lb_autoscale::manifest::ManifestError>();
    error::<lb_autoscale::policy::OverrideError>();
    error::<lb_autoscale::prometheus::PrometheusError>();
    error::<lb_autoscale::quantity::ParseQuantityError>();
    error::<lb_autoscale::spec::SpecError>();
    error::<lb_gpu::fair::InvalidConfig>();
    error::<lb_gpu::fair::Refused>();
    error::<lb_gpu::probe::ProbeError>();
    error::<lb_gpu::sampler::ConfigError>();
}
