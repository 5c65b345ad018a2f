internal import MusterWire

/// Where the configuration says that the audit trail goes.
enum AuditTargets {
    static func make(_ configuration: ControllerConfiguration, objects: ObjectStore?) throws -> [any AuditTarget] {
        var targets: [any AuditTarget] = []
        if let path = configuration.auditFolder {
            guard path.hasPrefix("/") else { throw ControllerError.badSetting("'auditFolder' has to be a whole path; it is \"\(path)\".") }
            targets.append(AuditFolder(path: path))
        }
        if let bucket = configuration.auditS3Bucket {
            guard let objects else {
                throw ControllerError.badSetting("'auditS3Bucket' is set and 'outputS3Endpoint' is not: set both, or neither.")
            }
            guard ObjectStore.isBucket(bucket) else { throw ControllerError.badSetting("'auditS3Bucket' is no bucket name: \(bucket).") }
            let prefix = configuration.auditS3Prefix
            guard ObjectStore.isPrefix(prefix), prefix.isEmpty || prefix.hasSuffix("/") else {
                throw ControllerError.badSetting("'auditS3Prefix' has to end with '/' and not to begin with it; it is \"\(prefix)\".")
            }
            targets.append(AuditBucket(upload: try ObjectUpload(store: objects), bucket: bucket, prefix: prefix))
        }
        if let text = configuration.auditSyslog {
            guard let address = AuditSyslog.Address(text) else {
                throw ControllerError.badSetting(
                    "'auditSyslog' has to be unix:PATH, tcp:HOST:PORT or udp:HOST:PORT; it is \"\(text)\".")
            }
            targets.append(AuditSyslog(address, text: text))
        }
        return targets
    }
}
