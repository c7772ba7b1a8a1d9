//! What the node adds to the metrics page: the gateway's own counts.

use gateway::GatewayStats;
use meter::{MetricKind, PrometheusText};

/// Writes the gateway's counters.
pub(crate) fn gateway(stats: &GatewayStats, text: &mut PrometheusText) {
    text.single(
        "holm_gateway_connections",
        MetricKind::Gauge,
        "Connections open now.",
        stats.n_connections(),
    );
    text.single(
        "holm_gateway_connections_accepted_total",
        MetricKind::Counter,
        "Connections accepted and served.",
        stats.n_accepted(),
    );
    text.single(
        "holm_gateway_connections_refused_total",
        MetricKind::Counter,
        "Connections refused at a limit.",
        stats.n_refused(),
    );
    text.single(
        "holm_gateway_accept_errors_total",
        MetricKind::Counter,
        "Times that the system could not give a connection.",
        stats.n_accept_errors(),
    );
}
