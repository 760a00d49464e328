package media

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"image"
	"image/color"
	_ "image/gif" // decoders of what people send
	"image/jpeg"
	"image/png"
	"io"
	"time"

	"golang.org/x/image/draw"
	_ "golang.org/x/image/webp"

	"konsil/homeserver/store"
	"konsil/matrix/id"
	"konsil/matrix/mxerr"
)

// Method says how a picture gets into a size. CS v1.16 #thumbnails
type Method string

// The methods.
const (
	Scale Method = "scale" // whole, no larger than asked
	Crop  Method = "crop"  // filling what was asked, the edges cut off
)

// size is one of those that thumbnails are made in: whatever clients ask, they get the next larger one, so that nobody fills
// the disk with a thousand sizes of a picture.
type size struct {
	width, height int
	method        Method
}

var sizes = []size{
	{32, 32, Crop}, {96, 96, Crop}, {320, 240, Scale}, {640, 480, Scale}, {800, 600, Scale},
}

func (s size) String() string { return fmt.Sprintf("%dx%d-%s", s.width, s.height, s.method) }

// choose takes the smallest size of the method that is as large as asked, or the largest.
func choose(width, height int, method Method) size {
	var best size
	for _, s := range sizes {
		if s.method != method {
			continue
		}
		best = s
		if s.width >= width && s.height >= height {
			return s
		}
	}
	if method == Crop && (width > best.width || height > best.height) {
		return size{width: 320, height: 240, method: Crop} // larger crops are asked for by older clients
	}
	return best
}

// Thumbnail opens a smaller picture of a file, making it first if need be. A picture that is smaller than the thumbnail
// would be is given as it is.
func (r *Repository) Thumbnail(ctx context.Context, origin id.ServerName, mediaID string, width, height int, method Method, wait time.Duration) (*File, error) {
	m, err := r.find(ctx, origin, mediaID, wait)
	if err != nil {
		return nil, err
	}
	want := choose(width, height, method)
	path := r.path(origin, mediaID)
	made, err := r.thumbnailRow(ctx, m, want)
	if errors.Is(err, store.ErrNotFound) {
		made, err = r.makeThumbnail(ctx, m, path, want)
	}
	if err != nil {
		return nil, err
	}
	m.ContentType, m.Size = made.ContentType, made.Size
	return r.open(path+"."+want.String(), m)
}

func (r *Repository) thumbnailRow(ctx context.Context, m store.Media, want size) (t store.Thumbnail, err error) {
	err = r.cfg.Store.ReadOne(ctx, func(tx *store.Tx) error {
		t, err = tx.Thumbnail(ctx, m.Origin, m.MediaID, want.String())
		return err
	})
	return t, err
}

// makeThumbnail decodes, scales and keeps. Those who want the same one wait for it; few pictures are decoded at once.
func (r *Repository) makeThumbnail(ctx context.Context, m store.Media, path string, want size) (store.Thumbnail, error) {
	made, err, _ := r.fetches.Do(path+"."+want.String(), func() (any, error) {
		r.scaling <- struct{}{}
		defer func() { <-r.scaling }()
		picture, contentType, err := r.render(path, m, want)
		if err != nil {
			return nil, err
		}
		t := store.Thumbnail{Variant: want.String(), ContentType: contentType, Size: int64(len(picture))}
		err = r.save(path+"."+want.String(), bytes.NewReader(picture), func(int64) error {
			return r.cfg.Store.Write(context.WithoutCancel(ctx), func(tx *store.Tx) error {
				return tx.PutThumbnail(ctx, m.Origin, m.MediaID, t)
			})
		})
		return t, err
	})
	if err != nil {
		return store.Thumbnail{}, err
	}
	return made.(store.Thumbnail), nil
}

// errNoPicture refuses what no thumbnail can be made of: other files, ciphertext, pictures too large to decode.
func errNoPicture() error {
	return mxerr.New(400, mxerr.CodeUnknown, "No thumbnail can be made of this file")
}

func (r *Repository) render(path string, m store.Media, want size) (picture []byte, contentType string, err error) {
	f, err := r.open(path, m)
	if err != nil {
		return nil, "", err
	}
	defer f.Close()
	src, format, err := decode(f, r.cfg.MaxPixels)
	if err != nil {
		return nil, "", err
	}
	var out bytes.Buffer
	dst := want.apply(src)
	if format == "jpeg" {
		err = jpeg.Encode(&out, dst, &jpeg.Options{Quality: 80})
		return out.Bytes(), "image/jpeg", err
	}
	err = png.Encode(&out, dst) // keeps what is transparent
	return out.Bytes(), "image/png", err
}

// decode reads a picture, but only after its header says that it is of a bearable size: a file of a few kilobytes may
// claim to unfold into gigabytes (B2).
func decode(f io.ReadSeeker, maxPixels int) (image.Image, string, error) {
	header, _, err := image.DecodeConfig(f)
	if err != nil {
		return nil, "", errNoPicture()
	}
	if header.Width <= 0 || header.Height <= 0 || header.Width > maxPixels/header.Height {
		return nil, "", errNoPicture()
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return nil, "", fmt.Errorf("read picture: %w", err)
	}
	picture, format, err := image.Decode(f)
	if err != nil {
		return nil, "", errNoPicture()
	}
	return picture, format, nil
}

// apply makes the picture of the wanted size.
func (s size) apply(src image.Image) image.Image {
	from := src.Bounds()
	width, height := from.Dx(), from.Dy()
	if s.method == Crop {
		from = s.window(from)
		width, height = s.width, s.height
		if from.Dx() < width || from.Dy() < height {
			width, height = from.Dx(), from.Dy() // never larger than the picture
		}
	} else {
		width, height = s.fit(width, height)
	}
	return scale(src, from, width, height)
}

// fit shrinks to within the size and keeps the proportions.
func (s size) fit(width, height int) (int, int) {
	if width <= s.width && height <= s.height {
		return width, height
	}
	if width*s.height > height*s.width {
		return s.width, max(1, height*s.width/width)
	}
	return max(1, width*s.height/height), s.height
}

// window is the middle of the picture with the proportions wanted.
func (s size) window(b image.Rectangle) image.Rectangle {
	width, height := b.Dx(), b.Dy()
	if width*s.height > height*s.width {
		w := max(1, height*s.width/s.height)
		x := b.Min.X + (width-w)/2
		return image.Rect(x, b.Min.Y, x+w, b.Max.Y)
	}
	h := max(1, width*s.height/s.width)
	y := b.Min.Y + (height-h)/2
	return image.Rect(b.Min.X, y, b.Max.X, y+h)
}

// scale averages blocks first, which is cheap and loses nothing that would be seen, then goes to the exact size finely.
func scale(src image.Image, from image.Rectangle, width, height int) image.Image {
	if factor := min(from.Dx()/(2*width), from.Dy()/(2*height)); factor >= 2 {
		src = average(src, from, factor)
		from = src.Bounds()
	}
	dst := image.NewRGBA(image.Rect(0, 0, width, height))
	draw.CatmullRom.Scale(dst, dst.Bounds(), src, from, draw.Src, nil)
	return dst
}

// average makes one pixel of each block of factor × factor.
func average(src image.Image, from image.Rectangle, factor int) *image.RGBA {
	dst := image.NewRGBA(image.Rect(0, 0, from.Dx()/factor, from.Dy()/factor))
	if photo, ok := src.(*image.YCbCr); ok {
		averagePhoto(dst, photo, from, factor)
		return dst
	}
	flat, ok := src.(*image.RGBA)
	if !ok {
		flat = image.NewRGBA(from)
		draw.Draw(flat, from, src, from.Min, draw.Src)
	}
	area := uint32(factor * factor)
	for y := range dst.Rect.Dy() {
		for x := range dst.Rect.Dx() {
			var sum [4]uint32
			for dy := range factor {
				at := flat.PixOffset(from.Min.X+x*factor, from.Min.Y+y*factor+dy)
				for pixel := flat.Pix[at : at+4*factor]; len(pixel) >= 4; pixel = pixel[4:] {
					sum[0] += uint32(pixel[0])
					sum[1] += uint32(pixel[1])
					sum[2] += uint32(pixel[2])
					sum[3] += uint32(pixel[3])
				}
			}
			out := dst.Pix[dst.PixOffset(x, y):]
			for i := range sum {
				out[i] = uint8(sum[i] / area)
			}
		}
	}
	return dst
}

// averagePhoto is average for what JPEG decodes to: brightness is averaged, colour is taken from the middle of the block.
func averagePhoto(dst *image.RGBA, src *image.YCbCr, from image.Rectangle, factor int) {
	area := factor * factor
	for y := range dst.Rect.Dy() {
		for x := range dst.Rect.Dx() {
			left, top := from.Min.X+x*factor, from.Min.Y+y*factor
			sum := 0
			for dy := range factor {
				at := src.YOffset(left, top+dy)
				for _, brightness := range src.Y[at : at+factor] {
					sum += int(brightness)
				}
			}
			middle := src.COffset(left+factor/2, top+factor/2)
			r, g, b := color.YCbCrToRGB(uint8(sum/area), src.Cb[middle], src.Cr[middle])
			dst.SetRGBA(x, y, color.RGBA{R: r, G: g, B: b, A: 255})
		}
	}
}
