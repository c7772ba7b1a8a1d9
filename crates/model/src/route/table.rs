//! The table that finds the function of a request: a hash of hosts, and per host a tree of path
//! segments. Lookup walks the path once, takes time linear in its length whatever the routes are, and
//! allocates nothing unless the answer is 405.
//!
//! A table is an immutable value behind an `Arc` in the catalog's snapshot; [`RouteTable::set`] on a
//! clone copies the nodes on the changed path only.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use super::{PathPattern, Route, is_function_address};
use crate::FunctionKey;

/// All routes of a node.
#[derive(Clone, Debug, Default)]
pub struct RouteTable {
    any_host: Node,
    hosts: HashMap<Arc<str>, Node>,
    by_function: HashMap<FunctionKey, Arc<[Route]>>,
}

/// What a lookup found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Match<'a> {
    /// The function.
    Found(&'a FunctionKey),
    /// Routes match but for the method; these methods are allowed (sorted, for the `allow` header).
    MethodNotAllowed {
        /// The methods of all routes that match host and path.
        allow: Vec<&'a str>,
    },
    /// No route matches.
    None,
}

/// Two functions want the same requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// Who has the route already.
    pub with: FunctionKey,
    /// The other function's route.
    pub route: Route,
}

/// One path segment. `exact` belongs to the path that ends here, `prefix` to that and all below.
#[derive(Clone, Debug, Default)]
struct Node {
    exact: Slot,
    prefix: Slot,
    children: HashMap<Arc<str>, Arc<Node>>,
}

/// The routes with one host and one path pattern; those with methods first.
#[derive(Clone, Debug, Default)]
struct Slot(Vec<Entry>);

#[derive(Clone, Debug)]
struct Entry {
    function: FunctionKey,
    /// Empty for every method.
    methods: Arc<[String]>,
}

impl RouteTable {
    /// A table of all routes of all functions.
    pub fn build<R: AsRef<[Route]>>(entries: impl IntoIterator<Item = (FunctionKey, R)>) -> Self {
        let mut table = Self::default();
        for (function, routes) in entries {
            table.set(&function, routes.as_ref());
        }
        table
    }

    /// Replaces the routes of `function`; an empty slice removes them. Does not look for conflicts.
    pub fn set(&mut self, function: &FunctionKey, routes: &[Route]) {
        if let Some(old) = self.by_function.remove(function) {
            for route in old.iter() {
                self.remove_route(function, route);
            }
        }
        if routes.is_empty() {
            return;
        }
        for route in routes {
            self.add_route(function, route);
        }
        self.by_function.insert(function.clone(), routes.into());
    }

    /// The routes of `function`.
    pub fn routes(&self, function: &FunctionKey) -> &[Route] {
        self.by_function.get(function).map_or(&[], |routes| routes)
    }

    /// How many functions have routes.
    pub fn n_functions(&self) -> usize {
        self.by_function.len()
    }

    /// The function of a request, by the precedence that the module describes. `host` and `path` are
    /// canonical; `path` is without query.
    pub fn lookup(&self, host: &str, path: &str, method: &str) -> Match<'_> {
        let own = self.hosts.get(host);
        let any = (!is_function_address(path)).then_some(&self.any_host);
        let mut address_matched = false;
        for node in own.into_iter().chain(any) {
            if let Some(function) = node.find(path, method, &mut address_matched) {
                return Match::Found(function);
            }
        }
        if !address_matched {
            return Match::None;
        }
        let mut allow = BTreeSet::new();
        for node in own.into_iter().chain(any) {
            node.for_each_slot(path, &mut |slot| {
                allow.extend(
                    slot.0
                        .iter()
                        .flat_map(|entry| entry.methods.iter().map(String::as_str)),
                );
            });
        }
        Match::MethodNotAllowed {
            allow: allow.into_iter().collect(),
        }
    }

    /// The first route of another function that wants the same requests as one of `routes` with equal
    /// precedence: same host, same path pattern, and a method in common or both for every method.
    pub fn conflicts(&self, function: &FunctionKey, routes: &[Route]) -> Option<Conflict> {
        routes.iter().find_map(|route| {
            let node = match &route.host {
                Some(host) => self.hosts.get(host.as_str())?,
                None => &self.any_host,
            };
            let entry = node.slot(&route.path)?.0.iter().find(|entry| {
                entry.function != *function && overlap(&entry.methods, &route.methods)
            })?;
            Some(Conflict {
                with: entry.function.clone(),
                route: Route {
                    host: route.host.clone(),
                    path: route.path.clone(),
                    methods: entry.methods.to_vec(),
                },
            })
        })
    }

    fn add_route(&mut self, function: &FunctionKey, route: &Route) {
        let root = match &route.host {
            Some(host) => self.hosts.entry(host.as_str().into()).or_default(),
            None => &mut self.any_host,
        };
        let mut node = root;
        for segment in segments(&route.path) {
            node = Arc::make_mut(node.children.entry(segment.into()).or_default());
        }
        let entries = &mut node.slot_mut(&route.path).0;
        let entry = Entry {
            function: function.clone(),
            methods: route.methods.as_slice().into(),
        };
        // Those with methods are asked first.
        match entry.methods.is_empty() {
            true => entries.push(entry),
            false => entries.insert(0, entry),
        }
    }

    fn remove_route(&mut self, function: &FunctionKey, route: &Route) {
        match &route.host {
            Some(host) => {
                if let Some(root) = self.hosts.get_mut(host.as_str())
                    && root.remove(&mut segments(&route.path), &route.path, function)
                {
                    self.hosts.remove(host.as_str());
                }
            }
            None => {
                self.any_host
                    .remove(&mut segments(&route.path), &route.path, function);
            }
        }
    }
}

impl Node {
    /// The winner below this host, or `None`; notes whether any route matched but for the method. Walks
    /// towards the end of the path; what is found later is more specific and wins.
    fn find(&self, path: &str, method: &str, address_matched: &mut bool) -> Option<&FunctionKey> {
        let mut best = None;
        self.for_each_slot(path, &mut |slot| {
            *address_matched |= !slot.0.is_empty();
            best = slot.find(method).or(best);
        });
        best
    }

    /// Calls `visit` for every slot whose pattern matches `path`, the least specific first.
    fn for_each_slot<'a>(&'a self, path: &str, visit: &mut dyn FnMut(&'a Slot)) {
        let mut node = self;
        let mut rest = path.strip_prefix('/').unwrap_or(path);
        // The root is the path `/`: it has no segment, where `/a/` has the segments `a` and empty.
        if rest.is_empty() {
            visit(&node.prefix);
            visit(&node.exact);
            return;
        }
        loop {
            visit(&node.prefix);
            let (segment, after) = match rest.split_once('/') {
                Some((segment, after)) => (segment, Some(after)),
                None => (rest, None),
            };
            let Some(child) = node.children.get(segment) else {
                return;
            };
            node = child;
            match after {
                Some(after) => rest = after,
                None => {
                    visit(&node.prefix);
                    visit(&node.exact);
                    return;
                }
            }
        }
    }

    fn slot(&self, pattern: &PathPattern) -> Option<&Slot> {
        let mut node = self;
        for segment in segments(pattern) {
            node = node.children.get(segment)?;
        }
        Some(match pattern {
            PathPattern::Exact(_) => &node.exact,
            PathPattern::Prefix(_) => &node.prefix,
        })
    }

    fn slot_mut(&mut self, pattern: &PathPattern) -> &mut Slot {
        match pattern {
            PathPattern::Exact(_) => &mut self.exact,
            PathPattern::Prefix(_) => &mut self.prefix,
        }
    }

    /// Removes the function from the slot and nodes that became empty; true when this one did.
    fn remove(
        &mut self,
        segments: &mut dyn Iterator<Item = &str>,
        pattern: &PathPattern,
        function: &FunctionKey,
    ) -> bool {
        match segments.next() {
            None => self
                .slot_mut(pattern)
                .0
                .retain(|entry| entry.function != *function),
            Some(segment) => {
                if let Some(child) = self.children.get_mut(segment)
                    && Arc::make_mut(child).remove(segments, pattern, function)
                {
                    self.children.remove(segment);
                }
            }
        }
        self.exact.0.is_empty() && self.prefix.0.is_empty() && self.children.is_empty()
    }
}

impl Slot {
    fn find(&self, method: &str) -> Option<&FunctionKey> {
        self.0
            .iter()
            .find(|entry| {
                entry.methods.is_empty() || entry.methods.iter().any(|allowed| allowed == method)
            })
            .map(|entry| &entry.function)
    }
}

/// The segments of a pattern's path: none for `/`; `a` and an empty one for `/a/`.
fn segments(pattern: &PathPattern) -> impl Iterator<Item = &str> {
    let path = pattern.as_str();
    let path = path.strip_prefix('/').unwrap_or(path);
    path.split('/')
        .take(if path.is_empty() { 0 } else { usize::MAX })
}

fn overlap(left: &[String], right: &[String]) -> bool {
    match (left.is_empty(), right.is_empty()) {
        (true, true) => true,
        (false, false) => left.iter().any(|method| right.contains(method)),
        // The one with methods wins where it matches: well defined, so no conflict.
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key(text: &str) -> FunctionKey {
        text.parse().expect("a valid name")
    }

    /// `METHODS HOST/PATH`, each part but the path optional.
    fn route(text: &str) -> Route {
        let (methods, address) = text.split_once(' ').unwrap_or(("", text));
        let (host, path) = address.split_at(address.find('/').expect("a path"));
        Route {
            host: (!host.is_empty()).then(|| host.to_owned()),
            path: path.parse().expect("a valid path"),
            methods: methods
                .split(',')
                .filter(|m| !m.is_empty())
                .map(str::to_owned)
                .collect(),
        }
    }

    fn table(entries: &[(&str, &[&str])]) -> RouteTable {
        RouteTable::build(entries.iter().map(|(function, routes)| {
            (
                key(function),
                routes.iter().map(|text| route(text)).collect::<Vec<_>>(),
            )
        }))
    }

    #[track_caller]
    fn check(table: &RouteTable, request: &str, expected: &str) {
        let (method, address) = request.split_once(' ').expect("method and address");
        let (host, path) = address.split_at(address.find('/').expect("a path"));
        let found = match table.lookup(host, path, method) {
            Match::Found(function) => function.to_string(),
            Match::MethodNotAllowed { allow } => format!("405 {}", allow.join(",")),
            Match::None => "404".to_owned(),
        };
        assert_eq!(found, expected, "{request}");
    }

    #[test]
    fn the_precedence_is_host_then_path_then_methods() {
        let table = table(&[
            ("any-root", &["/*"]),
            ("any-exact", &["/a/b"]),
            ("any-a", &["/a/*"]),
            ("any-a-post", &["POST,PUT /a/*"]),
            ("host-root", &["shop.test/*"]),
            ("host-get", &["GET only.test/x", "GET only.test/y/*"]),
        ]);
        check(&table, "GET x.test/", "any-root");
        check(&table, "GET x.test/zzz", "any-root");
        check(&table, "GET x.test/a", "any-a");
        check(&table, "GET x.test/a/", "any-a");
        check(&table, "POST x.test/a/c", "any-a-post");
        check(&table, "POST x.test/a/b", "any-exact");
        check(&table, "GET x.test/a/b/", "any-a");
        check(&table, "GET x.test/ab", "any-root");
        check(&table, "GET shop.test/a/b", "host-root");
        check(&table, "GET only.test/x", "host-get");
        // Another method falls through to the next route that matches.
        check(&table, "POST only.test/x", "any-root");
    }

    #[test]
    fn a_wrong_method_names_the_right_ones() {
        let table = table(&[("a", &["PUT,GET h.test/x"]), ("b", &["POST h.test/*"])]);
        check(&table, "DELETE h.test/x", "405 GET,POST,PUT");
        check(&table, "DELETE h.test/y", "405 POST");
        check(&table, "DELETE g.test/x", "404");
        check(&RouteTable::default(), "GET h.test/", "404");
    }

    #[test]
    fn function_addresses_are_never_swallowed() {
        let table = table(&[("any", &["/*"]), ("own", &["own.test/*"])]);
        check(&table, "GET x.test/function/hello/", "404");
        check(&table, "GET x.test/function", "404");
        check(&table, "GET x.test/functional", "any");
        check(&table, "GET own.test/function/hello/", "own");
    }

    #[test]
    fn conflicts_name_the_other_route() {
        let table = table(&[("a", &["GET,PUT h.test/x", "/y/*"])]);
        let conflict = |function: &str, text: &str| {
            table
                .conflicts(&key(function), &[route("/unrelated"), route(text)])
                .map(|conflict| format!("{} {}", conflict.with, conflict.route))
        };
        assert_eq!(
            conflict("b", "PUT,POST h.test/x").as_deref(),
            Some("a GET,PUT h.test/x")
        );
        assert_eq!(conflict("b", "/y/*").as_deref(), Some("a /y/*"));
        // A redeploy of the same function is none, nor is what the precedence tells apart.
        for (function, text) in [
            ("a", "GET h.test/x"),
            ("b", "POST h.test/x"),
            ("b", "h.test/x"),
            ("b", "GET /x"),
            ("b", "GET h.test/x/*"),
            ("b", "/y"),
            ("b", "GET /y/*"),
        ] {
            assert_eq!(conflict(function, text), None, "{function} {text}");
        }
    }

    #[test]
    fn replaced_and_removed_routes_leave_nothing_behind() {
        let mut table = table(&[("a", &["h.test/x/y", "/deep/er/*"]), ("b", &["/deep/*"])]);
        table.set(&key("a"), &[route("/z")]);
        check(&table, "GET h.test/x/y", "404");
        check(&table, "GET h.test/deep/er/q", "b");
        check(&table, "GET h.test/z", "a");
        table.set(&key("a"), &[]);
        table.set(&key("b"), &[]);
        assert!(table.hosts.is_empty() && table.any_host.children.is_empty());
        assert_eq!(table.n_functions(), 0);
    }

    #[test]
    fn a_changed_clone_leaves_the_original_alone() {
        let original = table(&[("a", &["/x/y/*"])]);
        let mut changed = original.clone();
        changed.set(&key("a"), &[]);
        changed.set(&key("b"), &[route("/x/y/*")]);
        check(&original, "GET h.test/x/y/z", "a");
        check(&changed, "GET h.test/x/y/z", "b");
    }

    #[test]
    fn a_path_of_many_segments_costs_no_more_than_its_length() {
        // Quadratic work would take minutes here.
        let deep = format!("/{}", "a/".repeat(500_000));
        let table = table(&[("a", &["/a/a/a/*"]), ("b", &["h.test/b"])]);
        assert_eq!(
            table.lookup("h.test", &deep, "GET"),
            Match::Found(&key("a"))
        );
    }

    /// The precedence, word by word, over a plain list.
    fn naive(routes: &[(FunctionKey, Route)], host: &str, path: &str, method: &str) -> String {
        let rank = |route: &Route| {
            let (exact, length) = match &route.path {
                PathPattern::Exact(path) => (1, path.len()),
                PathPattern::Prefix(path) if path == "/" => (0, 0),
                PathPattern::Prefix(path) => (0, path.len()),
            };
            (
                route.host.is_some(),
                exact,
                length,
                !route.methods.is_empty(),
            )
        };
        let matching = routes
            .iter()
            .filter(|(_, route)| route.matches(host, path, method));
        if let Some((function, _)) = matching.max_by_key(|(_, route)| rank(route)) {
            return function.to_string();
        }
        let allow: BTreeSet<&str> = routes
            .iter()
            .filter(|(_, route)| route.matches_address(host, path))
            .flat_map(|(_, route)| route.methods.iter().map(String::as_str))
            .collect();
        if allow.is_empty() {
            return "404".to_owned();
        }
        format!("405 {}", allow.into_iter().collect::<Vec<_>>().join(","))
    }

    fn routes_strategy() -> impl Strategy<Value = Vec<(FunctionKey, Vec<Route>)>> {
        let host = prop_oneof![Just(""), Just("h.test"), Just("g.test")];
        let path =
            "(/(a|b|c|function)){0,3}(/|/\\*)?".prop_filter("no path", |p| p.starts_with('/'));
        let methods = prop_oneof![Just(""), Just("GET "), Just("GET,POST "), Just("PUT ")];
        let route = (methods, host, path).prop_map(|(m, h, p)| route(&format!("{m}{h}{p}")));
        proptest::collection::vec(
            (
                "[a-d]".prop_map(|name| key(&name)),
                proptest::collection::vec(route, 0..4),
            ),
            0..8,
        )
    }

    proptest! {
        #[test]
        fn the_table_agrees_with_the_words(
            entries in routes_strategy(),
            requests in proptest::collection::vec(
                ("h.test|g.test|x.test", "/(a|b|c|function|/){0,4}", "GET|POST|DELETE"), 1..20),
        ) {
            let mut table = RouteTable::default();
            let mut list: Vec<(FunctionKey, Route)> = Vec::new();
            for (function, routes) in entries {
                // As at deploy: what conflicts is refused, what a function had is replaced.
                let clashes = routes.iter().any(|new| list.iter().any(|(other, old)| {
                    *other != function && old.host == new.host && old.path == new.path
                        && overlap(&old.methods, &new.methods)
                }));
                prop_assert_eq!(table.conflicts(&function, &routes).is_some(), clashes);
                if clashes {
                    continue;
                }
                table.set(&function, &routes);
                list.retain(|(other, _)| *other != function);
                list.extend(routes.into_iter().map(|route| (function.clone(), route)));
            }
            for (host, path, method) in requests {
                let found = match table.lookup(&host, &path, &method) {
                    Match::Found(function) => function.to_string(),
                    Match::MethodNotAllowed { allow } => format!("405 {}", allow.join(",")),
                    Match::None => "404".to_owned(),
                };
                prop_assert_eq!(found, naive(&list, &host, &path, &method), "{} {}{}", method, host, path);
            }
        }
    }
}
