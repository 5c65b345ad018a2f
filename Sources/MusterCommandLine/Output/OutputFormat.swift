/// How results are printed: tables for people; JSON, YAML and CSV for programs.
package enum OutputFormat: String, Sendable, CaseIterable {
    case table, json, yaml, csv
}
