// Play one URL and publish what comes (H.264 and AAC) to another, with the RTMP library of MediaMTX:
// republish PLAY_URL PUBLISH_URL. It ends with the stream that it plays.
package main

import (
	"context"
	"log"
	"net/url"
	"os"
	"time"

	"github.com/bluenviron/gortmplib"
	"github.com/bluenviron/gortmplib/pkg/codecs"
)

const wait = 20 * time.Second

func must(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

func open(address string, publish bool) *gortmplib.Client {
	parsed, err := url.Parse(address)
	must(err)
	client := &gortmplib.Client{URL: parsed, Publish: publish}
	must(client.Initialize(context.Background()))
	must(client.NetConn().SetReadDeadline(time.Now().Add(wait)))
	return client
}

func main() {
	player := open(os.Args[1], false)
	defer player.Close()
	reader := &gortmplib.Reader{Conn: player}
	must(reader.Initialize())

	publisher := open(os.Args[2], true)
	defer publisher.Close()
	writer := &gortmplib.Writer{Conn: publisher, Tracks: reader.Tracks()}
	must(writer.Initialize())

	for _, track := range reader.Tracks() {
		switch track.Codec.(type) {
		case *codecs.H264:
			reader.OnDataH264(track, func(pts time.Duration, dts time.Duration, unit [][]byte) {
				must(writer.WriteH264(track, pts, dts, unit))
			})
		case *codecs.MPEG4Audio:
			reader.OnDataMPEG4Audio(track, func(pts time.Duration, unit []byte) {
				must(writer.WriteMPEG4Audio(track, pts, unit))
			})
		}
	}
	log.Printf("republishing %d tracks", len(reader.Tracks()))
	for {
		must(player.NetConn().SetReadDeadline(time.Now().Add(wait)))
		if err := reader.Read(); err != nil {
			log.Print(err) // the end of the stream
			return
		}
	}
}
