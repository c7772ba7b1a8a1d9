//! The operations with JSON in and out, one method each.

use api::{
    AliasResponse, ConfigResponse, FunctionDetail, FunctionPage, FunctionSummary, Health,
    InstanceList, ListQuery, NodeInfo, Operation, PublishRequest, PublishResponse, ReceiptResponse,
    RemoveResponse, RollbackRequest, SetLiveRequest, UsageQuery, UsageResponse, VersionList,
    VersionRef,
};
use http::header::CONTENT_TYPE;
use model::{FunctionKey, InvocationId, Namespace};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::connection::{empty, full};
use crate::{Client, ClientError};

/// The most bytes of a metrics page.
const METRICS_BYTES_MAX: usize = 16 * 1024 * 1024;

impl Client {
    /// Whether the process runs.
    pub async fn live(&self) -> Result<Health, ClientError> {
        self.get(Operation::Live, &[], &()).await
    }

    /// Whether the node takes requests; an error with the node's reason while it does not.
    pub async fn ready(&self) -> Result<Health, ClientError> {
        self.get(Operation::Ready, &[], &()).await
    }

    /// The metrics page.
    pub async fn metrics(&self) -> Result<String, ClientError> {
        let operation = Operation::Metrics;
        let request = self
            .request(operation.method(), operation.path())
            .body(empty());
        let request = request.expect("the parts were checked before");
        let bytes = self.call_for_bytes(request, METRICS_BYTES_MAX).await?;
        String::from_utf8(bytes.into()).map_err(|error| self.protocol(error.to_string()))
    }

    /// The OpenAPI document that the node serves.
    pub async fn openapi(&self) -> Result<serde_json::Value, ClientError> {
        self.get(Operation::OpenApi, &[], &()).await
    }

    /// What the node is and can run.
    pub async fn node(&self) -> Result<NodeInfo, ClientError> {
        self.get(Operation::Node, &[], &()).await
    }

    /// The node's configuration.
    pub async fn config(&self) -> Result<ConfigResponse, ClientError> {
        self.get(Operation::Config, &[], &()).await
    }

    /// The instances that live now.
    pub async fn instances(&self) -> Result<InstanceList, ClientError> {
        self.get(Operation::Instances, &[], &()).await
    }

    /// A page of functions.
    pub async fn list(&self, query: &ListQuery) -> Result<FunctionPage, ClientError> {
        self.get(Operation::ListFunctions, &[], query).await
    }

    /// All functions, page by page.
    pub async fn list_all(
        &self,
        namespace: Option<&Namespace>,
    ) -> Result<Vec<FunctionSummary>, ClientError> {
        let mut functions = Vec::new();
        let mut query = ListQuery {
            namespace: namespace.cloned(),
            limit: Some(api::PAGE_SIZE_MAX),
            after: None,
        };
        loop {
            let page = self.list(&query).await?;
            functions.extend(page.functions);
            if page.next.is_none() {
                return Ok(functions);
            }
            query.after = page.next;
        }
    }

    /// One function.
    pub async fn describe(&self, function: &FunctionKey) -> Result<FunctionDetail, ClientError> {
        self.get(Operation::DescribeFunction, &path_of(function), &())
            .await
    }

    /// A function's versions, the newest first.
    pub async fn versions(&self, function: &FunctionKey) -> Result<VersionList, ClientError> {
        self.get(Operation::ListVersions, &path_of(function), &())
            .await
    }

    /// Removes a function with its versions.
    pub async fn remove(&self, function: &FunctionKey) -> Result<RemoveResponse, ClientError> {
        self.get(Operation::RemoveFunction, &path_of(function), &())
            .await
    }

    /// Publishes a version of an artifact that was uploaded before.
    pub async fn publish(
        &self,
        function: &FunctionKey,
        publish: &PublishRequest,
    ) -> Result<PublishResponse, ClientError> {
        self.post(Operation::Publish, &path_of(function), publish)
            .await
    }

    /// Points `live` at a version.
    pub async fn set_live(
        &self,
        function: &FunctionKey,
        version: VersionRef,
    ) -> Result<AliasResponse, ClientError> {
        self.post(
            Operation::SetLive,
            &path_of(function),
            &SetLiveRequest { version },
        )
        .await
    }

    /// Points `live` at what it pointed to before, or at `version`.
    pub async fn rollback(
        &self,
        function: &FunctionKey,
        version: Option<VersionRef>,
    ) -> Result<AliasResponse, ClientError> {
        self.post(
            Operation::Rollback,
            &path_of(function),
            &RollbackRequest { version },
        )
        .await
    }

    /// The receipt of an invocation.
    pub async fn receipt(&self, id: InvocationId) -> Result<ReceiptResponse, ClientError> {
        self.get(Operation::FindReceipt, &[&id.to_string()], &())
            .await
    }

    /// Sums over receipts.
    pub async fn usage(&self, query: &UsageQuery) -> Result<UsageResponse, ClientError> {
        self.get(Operation::Usage, &[], query).await
    }

    /// An operation without a body.
    pub(crate) async fn get<T: DeserializeOwned>(
        &self,
        operation: Operation,
        parameters: &[&str],
        query: &impl Serialize,
    ) -> Result<T, ClientError> {
        let uri = uri(operation, parameters, query);
        let request = self.request(operation.method(), &uri).body(empty());
        self.call(request.expect("the parts were checked before"))
            .await
    }

    /// An operation with a JSON body.
    async fn post<T: DeserializeOwned>(
        &self,
        operation: Operation,
        parameters: &[&str],
        json: &impl Serialize,
    ) -> Result<T, ClientError> {
        let bytes = serde_json::to_vec(json).expect("requests have string keys only");
        let request = self
            .request(operation.method(), &operation.path_with(parameters))
            .header(CONTENT_TYPE, "application/json")
            .body(full(bytes));
        self.call(request.expect("the parts were checked before"))
            .await
    }
}

/// The path parameters of a function.
pub(crate) fn path_of(function: &FunctionKey) -> [&str; 2] {
    [function.namespace.as_str(), function.name.as_str()]
}

/// Path and query, percent-encoded. `query` is a flat struct, or `()`.
pub(crate) fn uri(operation: Operation, parameters: &[&str], query: &impl Serialize) -> String {
    let mut uri = operation.path_with(parameters);
    let query = serde_json::to_value(query).expect("queries have string keys only");
    let serde_json::Value::Object(fields) = query else {
        return uri;
    };
    let mut separator = '?';
    for (key, value) in fields {
        let text = match value {
            serde_json::Value::Null => continue,
            serde_json::Value::String(text) => text,
            other => other.to_string(),
        };
        uri.push(separator);
        separator = '&';
        api::operation::percent_encode(&key, &mut uri);
        uri.push('=');
        api::operation::percent_encode(&text, &mut uri);
    }
    uri
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_encoded() {
        let query = ListQuery {
            namespace: None,
            limit: Some(5),
            after: Some("a/b&c".to_owned()),
        };
        assert_eq!(
            uri(Operation::ListFunctions, &[], &query),
            "/v1/functions?after=a%2Fb%26c&limit=5"
        );
        assert_eq!(uri(Operation::Live, &[], &()), "/live");
    }
}
