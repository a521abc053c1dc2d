// Go's net/http: ROLLOUT_HTTP is 1.1 or 2.
package main

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
)

var url, body = os.Getenv("ROLLOUT_URL"), os.Getenv("ROLLOUT_BODY")

func main() {
	stop := make(chan struct{})
	go func() {
		io.Copy(io.Discard, os.Stdin)
		close(stop)
	}()
	var clients sync.WaitGroup
	for range number(os.Getenv("ROLLOUT_CLIENTS")) {
		clients.Go(func() { client(stop) })
	}
	clients.Wait()
}

func client(stop <-chan struct{}) {
	transport := &http.Transport{Protocols: new(http.Protocols)}
	transport.Protocols.SetHTTP1(os.Getenv("ROLLOUT_HTTP") != "2")
	transport.Protocols.SetHTTP2(os.Getenv("ROLLOUT_HTTP") == "2")
	transport.Protocols.SetUnencryptedHTTP2(os.Getenv("ROLLOUT_HTTP") == "2")
	transport.TLSClientConfig = trust()
	timeout := time.Duration(number(os.Getenv("ROLLOUT_TIMEOUT_MS"))) * time.Millisecond
	client := &http.Client{Transport: transport, Timeout: timeout}
	least, longest, _ := strings.Cut(os.Getenv("ROLLOUT_PAUSE_MS"), " ")
	min, max := number(least), number(longest)
	for {
		select {
		case <-stop:
			return
		case <-time.After(time.Duration(min+rand.IntN(max-min+1)) * time.Millisecond):
		}
		began := time.Now()
		status, err := post(client)
		took := time.Since(began).Seconds()
		if err != nil {
			fmt.Printf("%03d %.6f %s\n", status, took, strings.ReplaceAll(err.Error(), "\n", " "))
		} else {
			fmt.Printf("%03d %.6f\n", status, took)
		}
	}
}

func post(client *http.Client) (int, error) {
	// A body that cannot be read again is not sent again.
	request, err := http.NewRequest("POST", url, io.NopCloser(strings.NewReader(body)))
	if err != nil {
		return 0, err
	}
	request.ContentLength = int64(len(body))
	request.Header.Set("Content-Type", "application/json")
	for header := range strings.Lines(os.Getenv("ROLLOUT_HEADERS")) {
		name, value, _ := strings.Cut(strings.TrimSpace(header), ": ")
		request.Header.Set(name, value)
	}
	response, err := client.Do(request)
	if err != nil {
		return 0, err
	}
	defer response.Body.Close()
	_, err = io.Copy(io.Discard, response.Body)
	return response.StatusCode, err
}

func trust() *tls.Config {
	config := &tls.Config{InsecureSkipVerify: os.Getenv("ROLLOUT_INSECURE") != ""}
	if file := os.Getenv("ROLLOUT_CA"); file != "" {
		certificates, err := os.ReadFile(file)
		if err != nil {
			panic(err)
		}
		config.RootCAs = x509.NewCertPool()
		config.RootCAs.AppendCertsFromPEM(certificates)
	}
	return config
}

func number(text string) int {
	number, err := strconv.Atoi(text)
	if err != nil {
		panic(err)
	}
	return number
}
