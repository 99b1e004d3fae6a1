// SPDX-License-Identifier: Apache-2.0

// Package manifests keeps the version of Gateway API whose CRDs a router's cluster has: nothing of it is built, its YAML is read.
package manifests

import _ "sigs.k8s.io/gateway-api/pkg/consts"
