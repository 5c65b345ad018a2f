/// The plugins that this agent serves.
package enum PluginTable {
    package static let actions: Set<String> = [RunShellScript.action]
}
