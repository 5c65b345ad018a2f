package import MusterWire

/// `--target` as people write it: `tag:KEY=VALUE[,VALUE…]`, `tag-key=KEY[,KEY…]` or `InstanceIds=ID[,ID…]`. [value]
///
/// Several targets must all match; the values of one are alternatives, as in SSM.
package enum TargetExpression {
    package static func parse(_ text: String) throws -> Target {
        guard let equals = text.firstIndex(of: "=") else {
            throw CommandLineError("Cannot read the target \"\(text)\": write tag:KEY=VALUE, tag-key=KEY or InstanceIds=ID.")
        }
        let key = String(text[..<equals])
        let values = text[text.index(after: equals)...].split(separator: ",", omittingEmptySubsequences: false).map(String.init)
        guard key == "tag-key" || key.lowercased() == "instanceids" || (key.hasPrefix("tag:") && key.count > 4) else {
            throw CommandLineError("Cannot use \"\(key)\" as a target: write tag:KEY=VALUE, tag-key=KEY or InstanceIds=ID.")
        }
        guard !values.contains("") || (key.hasPrefix("tag:") && values == [""]) else {
            throw CommandLineError("The target \"\(text)\" has an empty value.")
        }
        return Target(key: key, values: values)
    }
}
