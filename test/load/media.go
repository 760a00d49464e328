package main

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"errors"
	"image"
	"image/color"
	"image/jpeg"
	mathrand "math/rand/v2"
	"strings"
)

// media measures files of a megabyte.
func (b *bench) media() error {
	s, err := b.serve()
	if err != nil {
		return err
	}
	people, err := b.people(s, "m", 1)
	if err != nil {
		return err
	}
	u := people[0]
	file := make([]byte, 1<<20)
	last := ""
	up := func(_, _ int) (err error) {
		_, _ = rand.Read(file[:64]) // never fails; no two files are the same
		last, err = u.upload("application/octet-stream", file)
		return err
	}
	if err := up(0, 0); err != nil {
		return err
	}
	down := func(_, _ int) error {
		_, err := u.call("GET", "/_matrix/client/v1/media/download/"+last, nil)
		return err
	}
	var photos []string
	rounds := 3
	for i := range rounds + 1 {
		photo, err := photograph(uint64(i))
		if err != nil {
			return err
		}
		uri, err := u.upload("image/jpeg", photo)
		if err != nil {
			return err
		}
		photos = append(photos, uri)
	}
	thumbnail := func(_, i int) error {
		_, err := u.call("GET", "/_matrix/client/v1/media/thumbnail/"+photos[i%len(photos)]+"?width=320&height=240&method=scale", nil)
		return err
	}
	err = errors.Join(
		b.cost(s, load{name: "media, 1 MB up", ops: b.scale(20), op: up}),
		b.cost(s, load{name: "media, 1 MB down", ops: b.scale(100), op: down}),
	)
	if err != nil {
		return err
	}
	if b.quick {
		rounds = 2
	}
	return b.cost(s, load{name: "media, thumbnail", rounds: rounds, ops: 1, note: "JPEG of 2400 × 1800 pixels", op: thumbnail})
}

// upload stores a file and answers server name and media id.
func (u *user) upload(contentType string, data []byte) (string, error) {
	answer, err := u.send("POST", "/_matrix/media/v3/upload?filename=x", contentType, data)
	if err != nil {
		return "", err
	}
	var made struct {
		URI string `json:"content_uri"`
	}
	err = json.Unmarshal(answer, &made)
	return strings.TrimPrefix(made.URI, "mxc://"), err
}

// photograph is a picture with the grain of a photograph: about a megabyte.
func photograph(seed uint64) ([]byte, error) {
	chance := mathrand.New(mathrand.NewPCG(seed, 7))
	img := image.NewRGBA(image.Rect(0, 0, 2400, 1800))
	for y := range 1800 {
		for x := range 2400 {
			grain := uint8(chance.IntN(24))
			img.SetRGBA(x, y, color.RGBA{uint8(x/16) + grain, uint8(y/12) + grain, uint8((x+y)/24) + grain, 255})
		}
	}
	var out bytes.Buffer
	err := jpeg.Encode(&out, img, &jpeg.Options{Quality: 80})
	return out.Bytes(), err
}
