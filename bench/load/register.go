package main

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"mls-server/internal/gen/mlsapi"
	"mls-server/internal/mls"
	"mls-server/internal/mlstest"
)

const (
	registrations    = 40
	registerPackages = 200
	suite            = mls.CipherSuite(1) // MLS_128_DHKEMX25519_AES128GCM_SHA256_Ed25519
)

// measureRegister registers devices one after the other, each with as many key
// packages as a request may carry, and finds the server's CPU for one.
func measureRegister(ctx context.Context, m *machine, r *report) error {
	if _, err := m.startServer(ctx); err != nil {
		return err
	}
	requests, err := prepare(registrations+1, func(i int) ([]byte, error) { return m.registerRequest(m.people[i]) })
	if err != nil {
		return err
	}
	c, err := dial(m.address)
	if err != nil {
		return err
	}
	defer func() { _ = c.conn.Close() }() // everything was read
	var before time.Duration
	for i, request := range requests {
		if status, err := c.do(request); err != nil || status != http.StatusOK {
			return fmt.Errorf("register a device: status %d: %s: %w", status, c.out.String(), err)
		}
		if i == 0 { // the first one warms up
			before = cpu(m.cmd.Process.Pid)
		}
	}
	r.register = (cpu(m.cmd.Process.Pid) - before) / registrations
	return nil
}

// registerRequest is a whole HTTP request that registers a device of a person.
func (m *machine) registerRequest(i *identity) ([]byte, error) {
	token, err := i.token(prefix + "registerDevice")
	if err != nil {
		return nil, err
	}
	device := mlstest.NewClient(mls.DID(i.did), "", suite)
	in := mlsapi.RegisterDeviceInput{DeviceName: "phone", SignaturePublicKey: device.SignatureKey}
	for range registerPackages {
		in.KeyPackages = append(in.KeyPackages, mlsapi.RegisterDeviceKeyPackageItem{
			KeyPackage: device.KeyPackage(time.Now()).Text(), CipherSuite: mlsapi.RegisterDeviceKeyPackageItemCipherSuite(suite.String()),
		})
	}
	body := in.AppendJSON(nil)
	return fmt.Appendf(nil, "POST /xrpc/%sregisterDevice HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s",
		prefix, m.address, token, len(body), body), nil
}
