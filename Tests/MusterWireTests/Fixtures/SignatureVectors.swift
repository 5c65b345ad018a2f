/// Requests signed by botocore 1.43.11, through boto3 clients where the name says so, at 2026-11-23T12:55:23Z with access key AKIDEXAMPLE.
let signatureVectors = #"""
    [
     {
      "name": "boto3 SendCommand",
      "method": "POST",
      "path": "/",
      "query": "",
      "headers": [
       [
        "Host",
        "127.0.0.1:8443"
       ],
       [
        "X-Amz-Target",
        "AmazonSSM.SendCommand"
       ],
       [
        "Content-Type",
        "application/x-amz-json-1.1"
       ],
       [
        "User-Agent",
        "Boto3/1.43.11"
       ],
       [
        "X-Amz-Date",
        "20261123T125523Z"
       ],
       [
        "Authorization",
        "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20261123/eu-muster-1/ssm/aws4_request, SignedHeaders=content-type;host;x-amz-date;x-amz-target, Signature=36922ec3c5dabe4464811eac373dc008dd8d72f5d03e814c831115d6e1565fcf"
       ],
       [
        "amz-sdk-invocation-id",
        "5e6ccf38-b456-4316-b678-0d024a42733f"
       ],
       [
        "amz-sdk-request",
        "attempt=1"
       ],
       [
        "Content-Length",
        "174"
       ]
      ],
      "body": "{\"DocumentName\": \"AWS-RunShellScript\", \"InstanceIds\": [\"mi-0123456789abcdef0\"], \"Parameters\": {\"commands\": [\"echo \\\"h\\u00e9llo\\\" | tr a-z A-Z\", \"exit 3\"]}, \"Comment\": \"a\\tb\"}",
      "secret": "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
      "token": null,
      "region": "eu-muster-1",
      "service": "ssm",
      "time": "20261123T125523Z"
     },
     {
      "name": "boto3 DescribeInstanceInformation with a session token",
      "method": "POST",
      "path": "/",
      "query": "",
      "headers": [
       [
        "Host",
        "127.0.0.1:8443"
       ],
       [
        "X-Amz-Target",
        "AmazonSSM.DescribeInstanceInformation"
       ],
       [
        "Content-Type",
        "application/x-amz-json-1.1"
       ],
       [
        "User-Agent",
        "Boto3/1.43.11"
       ],
       [
        "X-Amz-Date",
        "20261123T125523Z"
       ],
       [
        "X-Amz-Security-Token",
        "IQoJb3JpZ2luX2VjE//+tok=="
       ],
       [
        "Authorization",
        "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20261123/eu-muster-1/ssm/aws4_request, SignedHeaders=content-type;host;x-amz-date;x-amz-security-token;x-amz-target, Signature=8edd99ab328dd687cc8ed6f80db4bdaf0ff86e853ccdb1c919565f4c85ec254a"
       ],
       [
        "amz-sdk-invocation-id",
        "21986009-32e5-4572-87a0-c5c26000252f"
       ],
       [
        "amz-sdk-request",
        "attempt=1"
       ],
       [
        "Content-Length",
        "2"
       ]
      ],
      "body": "{}",
      "secret": "shorter+secret/with=signs",
      "token": "IQoJb3JpZ2luX2VjE//+tok==",
      "region": "eu-muster-1",
      "service": "ssm",
      "time": "20261123T125523Z"
     },
     {
      "name": "boto3 default port",
      "method": "POST",
      "path": "/",
      "query": "",
      "headers": [
       [
        "Host",
        "muster.example.org"
       ],
       [
        "X-Amz-Target",
        "AmazonSSM.ListCommands"
       ],
       [
        "Content-Type",
        "application/x-amz-json-1.1"
       ],
       [
        "User-Agent",
        "Boto3/1.43.11"
       ],
       [
        "X-Amz-Date",
        "20261123T125523Z"
       ],
       [
        "Authorization",
        "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20261123/eu-muster-1/ssm/aws4_request, SignedHeaders=content-type;host;x-amz-date;x-amz-target, Signature=14b975bd7d2ed871a07c9efabf0631721604042008a54dba3f9a49c9fb185ead"
       ],
       [
        "amz-sdk-invocation-id",
        "ebfc1108-5a27-45e5-9fef-1dc7e0c9e63d"
       ],
       [
        "amz-sdk-request",
        "attempt=1"
       ],
       [
        "Content-Length",
        "17"
       ]
      ],
      "body": "{\"MaxResults\": 5}",
      "secret": "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
      "token": null,
      "region": "eu-muster-1",
      "service": "ssm",
      "time": "20261123T125523Z"
     },
     {
      "name": "boto3 path prefix",
      "method": "POST",
      "path": "/prefix/a%20b/",
      "query": "",
      "headers": [
       [
        "Host",
        "muster.example.org"
       ],
       [
        "X-Amz-Target",
        "AmazonSSM.ListCommands"
       ],
       [
        "Content-Type",
        "application/x-amz-json-1.1"
       ],
       [
        "User-Agent",
        "Boto3/1.43.11"
       ],
       [
        "X-Amz-Date",
        "20261123T125523Z"
       ],
       [
        "Authorization",
        "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20261123/eu-muster-1/ssm/aws4_request, SignedHeaders=content-type;host;x-amz-date;x-amz-target, Signature=9df260a0f9bf5ebddec4852a49f7c466dcdc396122ad7edf0e3542741244a7ab"
       ],
       [
        "amz-sdk-invocation-id",
        "424bcadb-e766-4c0c-8276-302017e886a4"
       ],
       [
        "amz-sdk-request",
        "attempt=1"
       ],
       [
        "Content-Length",
        "17"
       ]
      ],
      "body": "{\"MaxResults\": 5}",
      "secret": "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
      "token": null,
      "region": "eu-muster-1",
      "service": "ssm",
      "time": "20261123T125523Z"
     },
     {
      "name": "spaces in a header, SDK headers",
      "method": "POST",
      "path": "/",
      "query": "",
      "headers": [
       [
        "Host",
        "h:8443"
       ],
       [
        "Content-Type",
        "application/x-amz-json-1.1"
       ],
       [
        "X-Amz-Target",
        "AmazonSSM.ListCommands"
       ],
       [
        "amz-sdk-invocation-id",
        "0f7c1c3e-7d33-4b0c-8a5e-9a1c0b8f8c11"
       ],
       [
        "amz-sdk-request",
        "attempt=1; max=3"
       ],
       [
        "X-Amz-Meta",
        "  a   b\tc  "
       ],
       [
        "User-Agent",
        "Boto3/1.43.11"
       ],
       [
        "X-Amz-Date",
        "20261123T125523Z"
       ],
       [
        "Authorization",
        "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20261123/us-east-1/ssm/aws4_request, SignedHeaders=amz-sdk-invocation-id;amz-sdk-request;content-type;host;x-amz-date;x-amz-meta;x-amz-target, Signature=79ab7f2061397f68f58e4ceac74e1e07d1b0dfde4917e6e060fce5ed2b4d4619"
       ],
       [
        "Content-Length",
        "2"
       ]
      ],
      "body": "{}",
      "secret": "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
      "token": null,
      "region": "us-east-1",
      "service": "ssm",
      "time": "20261123T125523Z"
     },
     {
      "name": "query",
      "method": "GET",
      "path": "/a/../b//c/",
      "query": "z=1&a=2&a=1&k=%2F%20&e",
      "headers": [
       [
        "Host",
        "h"
       ],
       [
        "X-Amz-Target",
        "AmazonSSM.Nothing"
       ],
       [
        "X-Amz-Date",
        "20261123T125523Z"
       ],
       [
        "Authorization",
        "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20261123/us-east-1/ssm/aws4_request, SignedHeaders=host;x-amz-date;x-amz-target, Signature=b82391f50741eff762294f2980e1daaa8118dbfa141103f6d025537032d2987e"
       ]
      ],
      "body": "",
      "secret": "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
      "token": null,
      "region": "us-east-1",
      "service": "ssm",
      "time": "20261123T125523Z"
     },
     {
      "name": "empty body",
      "method": "POST",
      "path": "/",
      "query": "",
      "headers": [
       [
        "Host",
        "h"
       ],
       [
        "X-Amz-Target",
        "AmazonSSM.ListCommands"
       ],
       [
        "X-Amz-Date",
        "20261123T125523Z"
       ],
       [
        "Authorization",
        "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20261123/us-east-1/ssm/aws4_request, SignedHeaders=host;x-amz-date;x-amz-target, Signature=361341a348cbec941e9ea7dc23131dbb97a5ad9f312925e8474fb9a5805ee9bb"
       ],
       [
        "Content-Length",
        "0"
       ]
      ],
      "body": "",
      "secret": "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
      "token": null,
      "region": "us-east-1",
      "service": "ssm",
      "time": "20261123T125523Z"
     }
    ]
    """#
