//! What the node adds to the metrics page: the counts of gateway and egress.

use egress::EgressCounts;
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

/// Writes the counters of outbound requests.
pub(crate) fn egress(counts: &EgressCounts, text: &mut PrometheusText) {
    text.single(
        "holm_egress_connections",
        MetricKind::Gauge,
        "Outbound connections of functions that are open or being opened.",
        counts.connections_open,
    );
    for (name, help, value) in [
        (
            "requests",
            "Outbound requests that functions asked for.",
            counts.requests,
        ),
        (
            "denied",
            "Outbound requests that no rule grants.",
            counts.denied,
        ),
        (
            "refused",
            "Outbound requests over a limit, or malformed.",
            counts.refused,
        ),
        (
            "failed",
            "Outbound requests that failed on the network.",
            counts.failed,
        ),
        (
            "timeouts",
            "Outbound requests that took too long to be answered.",
            counts.timeouts,
        ),
    ] {
        let name = format!("holm_egress_{name}_total");
        text.single(&name, MetricKind::Counter, help, value);
    }
}
