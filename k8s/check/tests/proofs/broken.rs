//! Manifests that are whole, to be broken.

use serde_json::{Value, json};

/// The objects of one target, to be broken.
pub(crate) struct Broken(pub(crate) Vec<Value>);

const INDEX: &str = "a list is indexed by a number";
const POD: &str = "/spec/template/spec";
const CONTAINER: &str = "/spec/template/spec/containers/0";

impl Broken {
    /// The first object of a kind, or `kind/track`: the first whose name ends so.
    pub(crate) fn object(&mut self, id: &str) -> &mut Value {
        let (kind, end) = id.split_once('/').unwrap_or((id, ""));
        let found = self
            .0
            .iter_mut()
            .find(|o| o["kind"] == kind && o["metadata"]["name"].as_str().is_some_and(|n| n.ends_with(end)));
        found.unwrap_or_else(|| panic!("there is no {id} to break"))
    }

    /// Sets a field, which may be new in an object that is there.
    pub(crate) fn set(&mut self, id: &str, at: &str, value: Value) {
        let (parent, key) = at.rsplit_once('/').expect("a path begins with a slash");
        let key = key.replace("~1", "/");
        let parent = self.object(id).pointer_mut(parent).unwrap_or_else(|| panic!("{id} has no {parent}"));
        match parent {
            Value::Array(list) if key == "-" => list.push(value),
            Value::Array(list) => list[key.parse::<usize>().expect(INDEX)] = value,
            parent => parent[&key] = value,
        }
    }

    /// Removes a field that is there.
    pub(crate) fn cut(&mut self, id: &str, at: &str) {
        let (parent, key) = at.rsplit_once('/').expect("a path begins with a slash");
        let key = key.replace("~1", "/");
        let removed = match self.object(id).pointer_mut(parent) {
            None => None,
            Some(Value::Array(list)) => Some(list.remove(key.parse().expect(INDEX))),
            Some(parent) => parent.as_object_mut().and_then(|parent| parent.remove(&key)),
        };
        assert!(removed.is_some(), "{id} has no {at} to cut");
    }

    /// Removes an object that is there.
    pub(crate) fn drop(&mut self, id: &str) {
        self.object(id)["kind"] = json!("dropped");
        self.0.retain(|object| object["kind"] != "dropped");
    }

    /// Sets a field of the service's Deployment, below its pod.
    pub(crate) fn pod(&mut self, at: &str, value: Value) {
        self.set("Deployment", &format!("{POD}{at}"), value);
    }

    /// Sets a field of the service's container.
    pub(crate) fn container(&mut self, at: &str, value: Value) {
        self.set("Deployment", &format!("{CONTAINER}{at}"), value);
    }

    /// Sets a variable of the service's container.
    pub(crate) fn env(&mut self, name: &str, value: &str) {
        let list = self.object("Deployment").pointer_mut(&format!("{CONTAINER}/env"));
        let list = list.and_then(Value::as_array_mut).expect("the container has variables");
        list.retain(|variable| variable["name"] != name);
        list.push(json!({"name": name, "value": value}));
    }
}

/// How one is broken.
pub(crate) type Break = fn(&mut Broken);
